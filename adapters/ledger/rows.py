"""Intents, operations and attempts as rows of the ledger's tables, and back."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Any, NamedTuple, get_args

from sqlalchemy import Row

from adapters.ledger import intent_form
from adapters.ledger.sealing import Seal, joined
from schemas.instants import epoch_us, from_epoch_us
from schemas.operation import Intent, Operation, Outcome, Source, State
from schemas.reference import Purpose

_STATUSES = 1000
UNREADABLE = "unreadable"
UNREADABLE_MESSAGE = "The ledger's entry was changed or damaged and cannot be read. It alone is held; see the runbook."


class KeyedIntent(NamedTuple):
    """An intent with the keys under which the ledger stores it."""

    intent: Intent
    operation_id: str
    event_key: str
    ordering_key: str
    device: str | None


class Attempt(NamedTuple):
    """One attempt: request, response and the state it led to."""

    attempt: int
    fence: int
    at: datetime
    state: State
    http_status: int | None
    code: str | None
    request: bytes | None
    response: bytes | None


def keyed(intent: Intent, seal: Seal) -> KeyedIntent:
    """The keys of an intent. The operation_id is a hash, so that the same intent has the same id wherever it is built."""
    event = joined(intent.tenant_id, intent.endpoint, intent.resource_type, intent.source.event_id)
    return KeyedIntent(
        intent,
        operation_id=_hash(event + joined(intent.content_hash)),
        event_key=_hash(event),
        ordering_key=seal.name(intent.tenant_id, intent.endpoint, intent.patient_id),
        device=None if intent.source.device_id is None else seal.name(intent.tenant_id, intent.source.device_id),
    )


def operation_row(one: KeyedIntent, amends: str | None, now_us: int, seal: Seal) -> dict[str, Any]:
    """A new operation."""
    intent = one.intent
    return {
        "operation_id": one.operation_id,
        "event_key": one.event_key,
        "tenant_id": storable(intent.tenant_id),
        "endpoint": intent.endpoint,
        "ordering_key": one.ordering_key,
        "resource_type": intent.resource_type,
        "source_event_id": storable(intent.source.event_id),
        "content_hash": storable(intent.content_hash),
        "source_kind": intent.source.kind,
        "source_part_ids": storable(" ".join(intent.source.part_ids)),
        "purpose": intent.purpose,
        "intent": seal.close(intent_form.encode(intent), one.operation_id),
        "state": State.PENDING,
        "attempts": 0,
        "amends": amends,
        "created_us": now_us,
        "due_us": now_us,
        "device": one.device,
        "first_us": None if intent.source.first_time is None else epoch_us(intent.source.first_time),
        "last_us": None if intent.source.last_time is None else epoch_us(intent.source.last_time),
    }


def intent_of(sealed: bytes, operation_id: str, seal: Seal) -> Intent | None:
    """The stored intent, or None if it is unreadable."""
    content = seal.open(sealed, operation_id)
    return None if content is None else intent_form.decode(content)


def operation(row: Row[Any], seal: Seal) -> Operation:
    """An operation. An unreadable one has only the unencrypted columns, and nothing to send."""
    intent = intent_of(row.intent, row.operation_id, seal)
    shown = _shown(row, intent or _unreadable(row))
    return shown if intent else shown.model_copy(update={"code": UNREADABLE, "message": UNREADABLE_MESSAGE})


def _unreadable(row: Row[Any]) -> Intent:
    return Intent(
        tenant_id=row.tenant_id,
        endpoint=row.endpoint,
        patient_id="",
        subject_id="",
        resource_type=row.resource_type,
        purpose=row.purpose if row.purpose in get_args(Purpose) else "vitals",
        scope=UNREADABLE,
        source=Source(
            kind="command" if row.source_kind == "command" else "window",
            event_id=row.source_event_id,
            part_ids=row.source_part_ids.split(),
        ),
        content_hash=row.content_hash,
        payload={},
        occurred_at=from_epoch_us(row.created_us),
    )


def _shown(row: Row[Any], intent: Intent) -> Operation:
    return Operation(
        operation_id=row.operation_id,
        sequence=row.sequence,
        intent=intent,
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
        created_at=from_epoch_us(row.created_us),
        next_attempt_at=None if row.due_us is None else from_epoch_us(row.due_us),
        settled_at=None if row.settled_us is None else from_epoch_us(row.settled_us),
    )


def attempt_row(operation_id: str, attempt: int, outcome: Outcome, now_us: int, seal: Seal) -> dict[str, Any]:
    """The evidence of one attempt."""
    columns = outcome_columns(outcome)
    return {
        "operation_id": operation_id,
        "attempt": attempt,
        "fence": outcome.fence,
        "at_us": now_us,
        "state": outcome.state,
        "http_status": columns["http_status"],
        "code": columns["code"],
        "request": None if outcome.request is None else seal.close(outcome.request, operation_id),
        "response": None if outcome.response is None else seal.close(outcome.response, operation_id),
    }


def attempt_of(row: Row[Any], seal: Seal) -> Attempt:
    """The evidence, decrypted."""
    return Attempt(
        attempt=row.attempt,
        fence=row.fence,
        at=from_epoch_us(row.at_us),
        state=State(row.state),
        http_status=row.http_status,
        code=row.code,
        request=None if row.request is None else seal.open(row.request, row.operation_id),
        response=None if row.response is None else seal.open(row.response, row.operation_id),
    )


def storable(text: str) -> str:
    """The text in a form that every database can store: PostgreSQL rejects NUL, and UTF-8 has no lone surrogates."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def outcome_columns(outcome: Outcome) -> dict[str, Any]:
    """The columns of an outcome, storable whatever an EHR put into it."""
    texts = {"code": outcome.code, "message": outcome.message}
    texts |= {"resource_id": outcome.resource_id, "version": outcome.version}
    status = outcome.http_status
    return {name: None if text is None else storable(text) for name, text in texts.items()} | {
        "http_status": status if status is not None and 0 <= status < _STATUSES else None
    }


def _hash(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:32]
