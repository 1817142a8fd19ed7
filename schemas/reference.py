"""Reference data in compacted topics: pairings of devices, the patient's ids at each endpoint, and consents.

A limit of a pairing or a consent is never ignored: an unknown field there (`to` for `until`, `type` for `types`) may be such
a limit, so a record that has one is not understood, and its key is closed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from schemas.vitals import PANELS

Purpose = Literal["vitals", "documents", "patient-info"]


def _as_written(instant: object) -> object:
    """Refuses a bare number, because it has neither a unit nor an epoch."""
    if isinstance(instant, str) and not instant[:5].endswith("-"):
        raise ValueError("write a time as RFC 3339, e.g. 2026-01-05T08:00:00Z")
    if not isinstance(instant, str | datetime):
        raise ValueError("write a time as RFC 3339, e.g. 2026-01-05T08:00:00Z")  # noqa: TRY004 (pydantic wants ValueError)
    return instant


def _is_nameable(name: str) -> str:
    """Refuses control characters and lone surrogates, which databases and files store differently."""
    if not (name.isascii() and name.isprintable()) and any(unicodedata.category(c) in {"Cc", "Cs"} for c in name):
        raise ValueError("a name must not contain control characters or lone surrogates")
    return name


Instant = Annotated[AwareDatetime, BeforeValidator(_as_written)]
Name = Annotated[str, AfterValidator(_is_nameable)]
_LIMITING = ConfigDict(frozen=True, populate_by_name=True, extra="forbid")


class PairingInterval(BaseModel):
    """The device measured this patient in [from, until); `until` is null while it still does."""

    model_config = _LIMITING

    patient_id: Name = Field(min_length=1)
    location: str | None = Field(default=None, description="where the device was, e.g. icu-2/bed-4")
    since: Instant = Field(alias="from")
    until: Instant | None = None


class Pairing(BaseModel):
    """The pairing history of one device (`reference.pairings`)."""

    model_config = ConfigDict(frozen=True)

    tenant_id: Name = "default"
    device_id: Name
    intervals: list[PairingInterval]


class PatientRecord(BaseModel):
    """The FHIR Patient ids of one person, one for each endpoint (`reference.patients`)."""

    model_config = ConfigDict(frozen=True)

    tenant_id: Name = "default"
    patient_id: Name
    time_zone: str = "UTC"
    subject_ids: dict[Name, Name] = Field(description="endpoint name → FHIR Patient id there")


class Provision(BaseModel):
    """One permission or denial: a purpose, the vitals and the endpoints it covers (`*` is all)."""

    model_config = _LIMITING

    purpose: Purpose
    types: list[Name] = ["*"]
    endpoints: list[Name] = ["*"]


class Consent(BaseModel):
    """What one patient permits (`reference.consents`). No record is no consent; a denial outranks a permission."""

    model_config = _LIMITING

    tenant_id: Name = "default"
    patient_id: Name
    status: str
    since: Instant | None = Field(default=None, alias="from")
    until: Instant | None = None
    permits: list[Provision] = []
    denies: list[Provision] = []

    def allows(
        self, purpose: Purpose, scope: str, endpoint: str, at: datetime, through: datetime | None = None
    ) -> bool:
        """Whether the patient permits this use at this instant, or for the whole span up to `through`. Fails closed.

        A panel (blood_pressure) is permitted by its name or by all its members; a denial of one member denies it.
        """
        last = at if through is None else through
        if self.status != "active" or (self.since and at < self.since) or (self.until and last >= self.until):
            return False
        members = PANELS.get(scope, (scope,))
        if any(_denies(d, purpose, name, endpoint) for d in self.denies for name in (scope, *members)):
            return False
        return self._permits(purpose, scope, endpoint) or all(
            self._permits(purpose, member, endpoint) for member in members
        )

    def with_denials_understood(self, types: Collection[str], endpoints: Collection[str]) -> Consent:
        """The consent, in which a denial of an unknown vital or endpoint denies all of them.

        An unknown name would deny nothing. Which names are known is in the configuration, so the caller passes them.
        """
        denies = [
            denial.model_copy(
                update={"types": _known(denial.types, types), "endpoints": _known(denial.endpoints, endpoints)}
            )
            for denial in self.denies
        ]
        return self if denies == self.denies else self.model_copy(update={"denies": denies})

    def _permits(self, purpose: Purpose, scope: str, endpoint: str) -> bool:
        return any(_covers(p, purpose, scope, endpoint) for p in self.permits)


def _known(named: list[str], there_are: Collection[str]) -> list[str]:
    understood = named and all(name == "*" or name in there_are for name in named)
    return named if understood else ["*"]


def _covers(provision: Provision, purpose: Purpose, scope: str, endpoint: str) -> bool:
    return (
        provision.purpose == purpose
        and ("*" in provision.types or scope in provision.types)
        and ("*" in provision.endpoints or endpoint in provision.endpoints)
    )


_VITAL_NAME = re.compile(r"[a-z][a-z0-9_]*|\*")


def _denies(denial: Provision, purpose: Purpose, scope: str, endpoint: str) -> bool:
    """A denial that is not understood covers everything: types that are not names of vitals, no types, or no endpoints."""
    endpoints = {name.strip().casefold() for name in denial.endpoints}
    is_understood = bool(denial.types) and all(_VITAL_NAME.fullmatch(name) for name in denial.types)
    return (
        denial.purpose == purpose
        and (not is_understood or "*" in denial.types or scope in denial.types)
        and (not endpoints or "*" in endpoints or endpoint.casefold() in endpoints)
    )
