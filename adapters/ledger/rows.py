"""Intents, operations and attempts as rows of the ledger's tables, and back."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Row

from adapters.ledger.sealing import Seal, joined
from schemas.operation import Intent, Operation, Outcome, State

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Entry(NamedTuple):
    """An intent with the names the ledger knows it by."""

    intent: Intent
    operation_id: str
    event_key: str
    lane: str
    device: str | None


class Attempt(NamedTuple):
    """One attempt as it was: what was sent, what was answered, what it led to."""

    attempt: int
    fence: int
    at: datetime
    state: State
    http_status: int | None
    code: str | None
    request: bytes | None
    response: bytes | None


def us(at: datetime) -> int:
    """Microseconds since the epoch, exactly."""
    return (at - _EPOCH) // _MICROSECOND


def instant(at_us: int) -> datetime:
    """The instant again."""
    return _EPOCH + timedelta(microseconds=at_us)


def entry(intent: Intent, seal: Seal) -> Entry:
    """Name an intent: its key decides the operation_id, so that the same intent has the same id wherever it is made."""
    event = joined(intent.tenant_id, intent.endpoint, intent.resource_type, intent.source_event_id)
    return Entry(
        intent,
        operation_id=_hash(event + joined(intent.content_hash)),
        event_key=_hash(event),
        lane=seal.name(intent.tenant_id, intent.endpoint, intent.patient_id),
        device=None if intent.device_id is None else seal.name(intent.tenant_id, intent.device_id),
    )


def operation_row(one: Entry, amends: str | None, now_us: int, seal: Seal) -> dict[str, Any]:
    """A new operation."""
    intent = one.intent
    return {
        "operation_id": one.operation_id,
        "event_key": one.event_key,
        "tenant_id": intent.tenant_id,
        "endpoint": intent.endpoint,
        "lane": one.lane,
        "resource_type": intent.resource_type,
        "source_event_id": intent.source_event_id,
        "content_hash": intent.content_hash,
        "source_ids": " ".join(intent.source_ids),
        "intent": seal.close(intent.model_dump_json().encode(), one.operation_id),
        "state": State.PENDING,
        "attempts": 0,
        "amends": amends,
        "created_us": now_us,
        "due_us": now_us,
        "device": one.device,
        "first_us": None if intent.first_time is None else us(intent.first_time),
        "last_us": None if intent.last_time is None else us(intent.last_time),
    }


def operation(row: Row[Any], seal: Seal) -> Operation:
    """An operation as it stands."""
    return Operation(
        operation_id=row.operation_id,
        sequence=row.sequence,
        intent=Intent.model_validate_json(seal.open(row.intent, row.operation_id)),
        state=State(row.state),
        attempts=row.attempts,
        fence=row.fence,
        in_doubt=row.in_doubt,
        amends=row.amends,
        resource_id=row.resource_id,
        version=row.version,
        http_status=row.http_status,
        code=row.code,
        message=row.message,
        created_at=instant(row.created_us),
        next_attempt_at=None if row.due_us is None else instant(row.due_us),
        settled_at=None if row.settled_us is None else instant(row.settled_us),
    )


def attempt_row(operation_id: str, attempt: int, outcome: Outcome, now_us: int, seal: Seal) -> dict[str, Any]:
    """The evidence of one attempt."""
    return {
        "operation_id": operation_id,
        "attempt": attempt,
        "fence": outcome.fence,
        "at_us": now_us,
        "state": outcome.state,
        "http_status": outcome.http_status,
        "code": outcome.code,
        "request": None if outcome.request is None else seal.close(outcome.request, operation_id),
        "response": None if outcome.response is None else seal.close(outcome.response, operation_id),
    }


def attempt_seen(row: Row[Any], seal: Seal) -> Attempt:
    """The evidence again."""
    return Attempt(
        attempt=row.attempt,
        fence=row.fence,
        at=instant(row.at_us),
        state=State(row.state),
        http_status=row.http_status,
        code=row.code,
        request=None if row.request is None else seal.open(row.request, row.operation_id),
        response=None if row.response is None else seal.open(row.response, row.operation_id),
    )


def _hash(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:32]
