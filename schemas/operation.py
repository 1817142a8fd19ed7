"""The unit of the ledger: one write to one endpoint for one patient, and its state."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from schemas.reference import Purpose


class State(StrEnum):
    """States of an operation. Terminal: succeeded, failed, quarantined. `held` awaits review, `unknown` a search."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DEFERRED = "deferred"
    UNKNOWN = "unknown"
    QUARANTINED = "quarantined"
    HELD = "held"


TERMINAL = frozenset({State.SUCCEEDED, State.FAILED, State.QUARANTINED})
ABSENT = "absent"
"""Code of a held operation in doubt that a complete search did not find. Only such an operation is sent again on release."""


class Source(BaseModel):
    """The event that caused an intent: a closed window (of a panel: the windows of its members) or a command."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["window", "command"] = "window"
    event_id: str = Field(description="a window_id (of a panel: of its first member), or a command_id")
    part_ids: list[str] = Field(description="every window_id that the payload reports, or the command_id")
    device_id: str | None = Field(default=None, description="the device that measured, to compare with its pairing")
    first_time: AwareDatetime | None = Field(
        default=None, description="first reading: pairing and consent must hold from here"
    )
    last_time: AwareDatetime | None = Field(default=None, description="last reading: and until here, inclusive")


class ReplyTo(BaseModel):
    """The destination of the reply to a command, once its operation is settled."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    command_id: str
    topic: str = Field(description="without prefix; one that the client may name")


class Intent(BaseModel):
    """A write to one endpoint for one patient: a payload ready to send, except for the encounter, which only the EHR knows.

    The key (tenant_id, endpoint, resource_type, source.event_id, content_hash) is unique in the ledger and removes
    duplicates. The same source event with a new content hash amends the earlier operation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tenant_id: str
    endpoint: str
    patient_id: str
    subject_id: str = Field(description="the patient's id at the endpoint")
    purpose: Purpose = Field(description="the purpose for which consent is required")
    scope: str = Field(description="what consent must cover within the purpose: of vitals the vital type, or the panel")
    resource_type: str
    source: Source
    content_hash: str
    reply_to: ReplyTo | None = Field(default=None, description="of a command; a window is not answered")
    payload: dict[str, Any] = Field(description="the FHIR resource to write")
    occurred_at: AwareDatetime = Field(
        description="the instant for which consent and encounter must hold: of a window its end, exclusive"
    )
    produced_at: AwareDatetime | None = Field(
        default=None, description="when the source event was produced, for latency"
    )


class Operation(BaseModel):
    """An intent in the ledger, with its state. Holds PHI."""

    model_config = ConfigDict(frozen=True)

    operation_id: str
    sequence: int = Field(
        description="order of insertion; operations of one patient and endpoint are sent in this order"
    )
    intent: Intent
    state: State
    attempts: int = 0
    fence: int = Field(
        default=0, description="fencing token of the latest claim; only its holder may settle the operation"
    )
    in_doubt: bool = Field(
        default=False, description="an earlier attempt may have been written: it was ambiguous, or its worker died"
    )
    amends: str | None = Field(default=None, description="operation_id of the earlier write of the same source event")
    resource_id: str | None = Field(default=None, description="the id that the EHR assigned, e.g. of the Observation")
    version: str | None = None
    http_status: int | None = None
    code: str | None = None
    message: str | None = None
    created_at: AwareDatetime
    claimed_at: AwareDatetime | None = Field(
        default=None, description="when a worker claimed it, by the clock of created_at"
    )
    next_attempt_at: AwareDatetime | None = None
    settled_at: AwareDatetime | None = None


class Outcome(BaseModel):
    """The result of one attempt: the new state and the evidence."""

    model_config = ConfigDict(frozen=True)

    state: State
    fence: int = Field(description="fencing token of the claim; an outcome under another token changes nothing")
    http_status: int | None = None
    code: str | None = Field(default=None, description="machine-readable: the EHR's own code or one of ours")
    message: str | None = Field(default=None, description="for operators; never PHI")
    resource_id: str | None = None
    version: str | None = None
    retry_after_s: float | None = Field(default=None, description="by the database's clock, from when it is settled")
    request: bytes | None = Field(
        default=None, description="the bytes that were sent; encrypted where the ledger has a key"
    )
    response: bytes | None = Field(default=None, description="the bytes of the response; encrypted likewise")
    in_doubt: bool = Field(default=False, description="it may have been written; stays set, whatever the state")
