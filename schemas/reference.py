"""Reference data in compacted topics: whose device it is, where the patient is known, and what the patient permits."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from schemas.vitals import PANELS

Purpose = Literal["vitals", "documents", "patient-info"]


class PairingInterval(BaseModel):
    """The device measured this patient in [from, until); `until` null means still."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    patient_id: str = Field(min_length=1)
    since: AwareDatetime = Field(alias="from")
    until: AwareDatetime | None = None


class Pairing(BaseModel):
    """The pairing history of one device (`reference.pairings`)."""

    model_config = ConfigDict(frozen=True)

    tenant_id: str = "default"
    device_id: str
    intervals: list[PairingInterval]


class PatientRecord(BaseModel):
    """The FHIR Patient ids of one person, one for each endpoint (`reference.patients`)."""

    model_config = ConfigDict(frozen=True)

    tenant_id: str = "default"
    patient_id: str
    time_zone: str = "UTC"
    subject_ids: dict[str, str] = Field(description="endpoint name → FHIR Patient id there")


class Provision(BaseModel):
    """One permission or denial: a purpose, the vitals and the endpoints it covers (`*` is all)."""

    model_config = ConfigDict(frozen=True)

    purpose: Purpose
    types: list[str] = ["*"]
    endpoints: list[str] = ["*"]


class Consent(BaseModel):
    """What one patient permits (`reference.consents`). No record is no consent; a denial outranks a permission."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    tenant_id: str = "default"
    patient_id: str
    status: str
    since: AwareDatetime | None = Field(default=None, alias="from")
    until: AwareDatetime | None = None
    permits: list[Provision] = []
    denies: list[Provision] = []

    def allows(
        self, purpose: Purpose, vital_type: str, endpoint: str, at: datetime, through: datetime | None = None
    ) -> bool:
        """Whether the patient permits this use at this instant, or for the whole span up to `through`. Fails closed.

        A panel (blood_pressure) is permitted by its name or by all its members; a denial of one member denies it.
        """
        last = at if through is None else through
        if self.status != "active" or (self.since and at < self.since) or (self.until and last >= self.until):
            return False
        members = PANELS.get(vital_type, (vital_type,))
        if any(_covers(d, purpose, name, endpoint) for d in self.denies for name in (vital_type, *members)):
            return False
        return self._permits(purpose, vital_type, endpoint) or all(
            self._permits(purpose, member, endpoint) for member in members
        )

    def _permits(self, purpose: Purpose, vital_type: str, endpoint: str) -> bool:
        return any(_covers(p, purpose, vital_type, endpoint) for p in self.permits)


def _covers(provision: Provision, purpose: Purpose, vital_type: str, endpoint: str) -> bool:
    return (
        provision.purpose == purpose
        and ("*" in provision.types or vital_type in provision.types)
        and ("*" in provision.endpoints or endpoint in provision.endpoints)
    )
