"""Commands on topics and the replies to them: the published contracts of `commands.*` and `replies.*`."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from schemas.reading import Measurement

ResourceName = Literal["Patient", "Condition", "MedicationRequest", "AllergyIntolerance", "DiagnosticReport"]


class Command(BaseModel):
    """The fields of every command. The bearer token is in the record's `authorization` header."""

    model_config = ConfigDict(frozen=True)

    command_id: UUID = Field(
        description="the idempotency key: a repeated command gets the same reply and has no further effect"
    )
    tenant_id: str = "default"
    endpoint: str
    patient_id: str
    requested_at: AwareDatetime
    expires_at: AwareDatetime | None = None


class VitalsCommand(Command):
    """Chart these readings immediately (`commands.vitals`)."""

    readings: list[Measurement] = Field(min_length=1)


class DocumentCommand(Command):
    """File this document (`commands.documents`): inline as base64, or by reference."""

    title: str
    loinc: str
    content_type: str
    content: str | None = None
    reference: str | None = None
    author: str | None = None
    encounter_id: str | None = None
    created: AwareDatetime


class PatientInfoCommand(Command):
    """Return data from the chart (`commands.patient-info`)."""

    resources: list[ResourceName] = Field(min_length=1)
    template: str | None = None


class ReplyError(BaseModel):
    """Why a command failed: a machine-readable `code` and a readable `message`."""

    operation: str = Field(examples=["Observation.create"])
    status: int
    code: str
    message: str


class Reply(BaseModel):
    """The reply to a command."""

    command_id: UUID
    operation_id: str
    state: Literal["succeeded", "failed", "deferred"]
    result: dict[str, Any] | None = None
    error: ReplyError | None = None
