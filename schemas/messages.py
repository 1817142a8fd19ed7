"""Commands, replies, audit events, alerts and heartbeats: the published contracts of their topics."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from schemas.reading import Measurement

ResourceName = Literal["Patient", "Condition", "MedicationRequest", "AllergyIntolerance", "DiagnosticReport"]


class Command(BaseModel):
    """What every command carries. The bearer token travels in the record's `authorization` header."""

    model_config = ConfigDict(frozen=True)

    command_id: UUID = Field(description="the idempotency key: a repeat gets the same reply and does nothing twice")
    tenant_id: str = "default"
    endpoint: str
    patient_id: str
    requested_at: AwareDatetime
    expires_at: AwareDatetime | None = None


class VitalsCommand(Command):
    """Chart these readings at once (`commands.vitals`)."""

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
    """Send back what the chart holds (`commands.patient-info`)."""

    resources: list[ResourceName] = Field(min_length=1)
    template: str | None = None


class ReplyError(BaseModel):
    """Why a command failed, for a machine (`code`) and for a person (`message`)."""

    operation: str = Field(examples=["Observation.create"])
    status: int
    code: str
    message: str


class Reply(BaseModel):
    """The answer to a command."""

    command_id: UUID
    operation_id: str
    state: Literal["succeeded", "failed", "deferred"]
    result: dict[str, Any] | None = None
    error: ReplyError | None = None


class AuditEvent(BaseModel):
    """One step that touched patient data (`audit.events`); `previous` chains it to the writer's event before."""

    event_id: str
    tenant_id: str
    at: AwareDatetime
    role: str
    action: str = Field(examples=["observation.charted", "reading.quarantined", "operation.failed"])
    outcome: Literal["success", "refused", "failure"]
    operation_id: str | None = None
    endpoint: str | None = None
    source: str | None = Field(default=None, description="topic/partition/offset or window_id; never a value measured")
    reason: str | None = None
    actor: str | None = Field(default=None, description="the account of the person who ordered it, if a person did")
    writer: str | None = Field(default=None, description="the process that wrote it: each writes a chain of its own")
    previous: str | None = None
    hash: str | None = None


class AlertEvent(BaseModel):
    """An alert and what became of it (`alerts.events`). Vitalwire is not a primary alarm."""

    alert_id: str
    tenant_id: str
    patient_id: str
    device_id: str
    type: str
    event: Literal["raised", "escalated", "acknowledged", "cleared"]
    at: AwareDatetime
    value: float | None = None
    unit: str | None = None


class Heartbeat(BaseModel):
    """A worker lives (`ops.heartbeats`)."""

    role: str
    instance: str
    at: AwareDatetime
    version: str
    ready: bool
    detail: dict[str, Any] = {}
