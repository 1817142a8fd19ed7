"""The ledger's unit: what should happen at one endpoint for one patient, and what became of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field


class State(StrEnum):
    """Life of an operation. Terminal: succeeded, failed, quarantined. `held` waits for a person, `unknown` for a search."""

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
"""Code of a held operation that a complete search did not find: alone of those in doubt it is sent when it is released."""


class Intent(BaseModel):
    """What should be written: a FHIR resource ready to send, less what only the EHR knows (the active encounter).

    The key (tenant, endpoint, resource_type, source_event_id, content_hash) is unique in the ledger: duplicates end there.
    The same source event with a new content hash is an amendment of the earlier operation.
    """

    model_config = ConfigDict(frozen=True)

    tenant_id: str
    endpoint: str
    patient_id: str
    subject_id: str = Field(description="the patient's id at the endpoint")
    resource_type: str = "Observation"
    source_event_id: str = Field(description="the window_id; of a blood-pressure panel that of the systolic window")
    content_hash: str
    source_ids: list[str] = Field(description="every window_id that this resource reports")
    device_id: str | None = Field(default=None, description="the device that measured, to compare with its pairing")
    first_time: AwareDatetime | None = Field(
        default=None, description="first reading: pairing and consent must hold from here"
    )
    last_time: AwareDatetime | None = Field(default=None, description="last reading: and until here, inclusive")
    vital_type: str = Field(description="the type (of a panel: blood_pressure), for consent")
    measured_at: AwareDatetime = Field(
        description="end of the window: the instant for which consent and encounter hold"
    )
    resource: dict[str, Any]
    window_closed_at: AwareDatetime | None = Field(
        default=None, description="when the window was produced, for latency"
    )


class Operation(BaseModel):
    """An intent in the ledger, with its life so far. Holds PHI."""

    model_config = ConfigDict(frozen=True)

    operation_id: str
    sequence: int = Field(description="order of insertion; per patient and endpoint operations are sent in this order")
    intent: Intent
    state: State
    attempts: int = 0
    fence: int = Field(default=0, description="token of the claim it was given under; only its holder may settle it")
    in_doubt: bool = Field(
        default=False, description="an earlier attempt may have been written: it was ambiguous, or its worker died"
    )
    amends: str | None = Field(default=None, description="operation_id of the earlier write of the same source event")
    resource_id: str | None = Field(default=None, description="the id the EHR gave, e.g. of the Observation")
    version: str | None = None
    http_status: int | None = None
    code: str | None = None
    message: str | None = None
    created_at: AwareDatetime
    claimed_at: AwareDatetime | None = Field(
        default=None, description="when it was given to a worker, by the clock that created_at is of"
    )
    next_attempt_at: AwareDatetime | None = None
    settled_at: AwareDatetime | None = None


class Outcome(BaseModel):
    """What one attempt brought, as the verdict table judged it: the new state and the evidence."""

    model_config = ConfigDict(frozen=True)

    state: State
    fence: int = Field(description="of the claim that it is the outcome of; under another it changes nothing")
    http_status: int | None = None
    code: str | None = Field(default=None, description="machine-readable: an EHR's own code or ours")
    message: str | None = Field(default=None, description="for a person; never PHI")
    resource_id: str | None = None
    version: str | None = None
    retry_after_s: float | None = Field(default=None, description="by the database's clock, from when it is settled")
    request: bytes | None = Field(default=None, description="what was sent; kept encrypted where the ledger has a key")
    response: bytes | None = Field(default=None, description="what was answered; kept likewise")
    in_doubt: bool = Field(default=False, description="it may have been written; never forgotten, whatever the state")
