"""Audit steps, and how they become events in hash chains. Pure; used by the roles and the ledger.

Source of the requirement: 45 CFR §164.312(b) and (c), audit controls and integrity.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Literal, NamedTuple

import orjson
from pydantic import AwareDatetime, BaseModel, Field


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
    source: str | None = Field(default=None, description="topic/partition/offset or window_id; never a measured value")
    reason: str | None = None
    actor: str | None = Field(default=None, description="the account of the operator who initiated it, if any")
    writer: str | None = Field(default=None, description="the process that wrote it; each process writes its own chain")
    previous: str | None = None
    hash: str | None = None


class Step(NamedTuple):
    """One step to audit. No field may contain a patient's name or a measured value."""

    tenant_id: str
    action: str
    outcome: Literal["success", "refused", "failure"]
    operation_id: str | None = None
    endpoint: str | None = None
    source: str | None = None
    reason: str | None = None
    actor: str | None = None


class Link(NamedTuple):
    """The end of a chain: its writer, the number of its next event, and the hash of the last."""

    writer: str
    number: int = 0
    previous: str | None = None


def chained(step: Step, link: Link, role: str, at: datetime) -> tuple[AuditEvent, Link]:
    """The step as the next event of its tenant's chain, and the new end of the chain."""
    event = AuditEvent(
        event_id=f"{link.writer}/{step.tenant_id}/{link.number}",
        at=at,
        role=role,
        writer=link.writer,
        previous=link.previous,
        **step._asdict(),
    )
    event = event.model_copy(update={"hash": event_hash(event)})
    return event, Link(link.writer, link.number + 1, event.hash)


def event_hash(event: AuditEvent) -> str:
    """SHA-256 over all fields of the event, the previous event's hash included."""
    fields = event.model_dump(mode="json", exclude={"hash"})
    return hashlib.sha256(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)).hexdigest()
