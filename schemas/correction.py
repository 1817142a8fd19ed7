"""A charted result in doubt: what a person must look at in the chart after a pairing or a patient was corrected."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field


class Correction(BaseModel):
    """One charted result that today's reference data would not have put there (`vitals.corrections`).

    Vitalwire takes nothing out of a chart: a person corrects it there, by this list.
    """

    model_config = ConfigDict(frozen=True)

    tenant_id: str
    patient_id: str = Field(description="whose chart it was meant for")
    operation_id: str
    endpoint: str
    subject_id: str = Field(description="the FHIR Patient id under which it stands at the endpoint")
    resource_id: str | None = Field(default=None, description="what the EHR calls it, where it said so")
    device_id: str
    type: str = Field(description="the vital; of a panel blood_pressure")
    first_time: AwareDatetime
    last_time: AwareDatetime
    cause: Literal["pairing_changed", "subject_changed"]
    noticed_at: AwareDatetime
