"""Charted results to review in the chart after a pairing or a patient was corrected."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field


class Correction(BaseModel):
    """A charted result that contradicts the current reference data (`vitals.corrections`).

    Vitalwire removes nothing from a chart; clinical staff correct it there, working from this list.
    """

    model_config = ConfigDict(frozen=True)

    tenant_id: str
    patient_id: str = Field(description="the patient for whom it was charted")
    operation_id: str
    endpoint: str
    subject_id: str = Field(description="the FHIR Patient id that it refers to at the endpoint")
    resource_id: str | None = Field(default=None, description="its id in the EHR, if the EHR returned one")
    device_id: str
    type: str = Field(description="the vital, or its panel: blood_pressure")
    first_time: AwareDatetime
    last_time: AwareDatetime
    cause: Literal["pairing_changed", "subject_changed"]
    noticed_at: AwareDatetime
