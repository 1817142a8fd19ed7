"""`vitalwire ledger show`: where to find one result in the chart, and every attempt. The output is patient data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adapters.ledger import STALE, Attempt
from schemas.operation import Operation
from streams.delivery.messages import MESSAGES
from vitalwire.cli.output import pairs, table

_LATE = (
    "It ended after its lease, when another worker had the operation. Its outcome was discarded; it may have written."
)
_ATTEMPT = ("attempt", "at", "state", "http_status", "code", "message")


def document(operation: Operation, tried: Sequence[Attempt]) -> dict[str, Any]:
    """One operation without measured values: its state, where to find its result, and every attempt."""
    of_operation, intent = operation.model_dump(mode="json"), operation.intent.model_dump(mode="json")
    source = intent["source"]
    state = ("operation_id", "state", "code", "message", "in_doubt", "http_status")
    chart = ("tenant_id", "endpoint", "subject_id", "resource_type")
    life = ("amends", "sequence", "attempts", "created_at", "next_attempt_at", "settled_at")
    return (
        {name: of_operation[name] for name in state}
        | {name: intent[name] for name in chart}
        | {"resource_id": operation.resource_id, "version": operation.version}
        | {"purpose": intent["purpose"], "vital_type": intent["scope"], "device_id": source["device_id"]}
        | {"first_reading": source["first_time"], "last_reading": source["last_time"]}
        | {"measured_at": intent["occurred_at"], "window_id": source["event_id"]}
        | {"window_ids": source["part_ids"]}
        | {name: of_operation[name] for name in life}
        | {"each_attempt": [_attempt(one) for one in tried]}
    )


def show(shown: dict[str, Any]) -> None:
    """Print the document as tables."""
    several = {"window_ids": " ".join(shown["window_ids"])}
    rows: dict[str, Any] = {name: "" if value is None else value for name, value in (shown | several).items()}
    tried = rows.pop("each_attempt")
    pairs("Operation", rows)
    table("Attempts", _ATTEMPT, (["" if one[name] is None else one[name] for name in _ATTEMPT] for one in tried))


def _attempt(one: Attempt) -> dict[str, Any]:
    stale = one.code == STALE
    return {
        "attempt": one.attempt,
        "at": one.at.isoformat().replace("+00:00", "Z"),
        "state": str(one.state),
        "http_status": one.http_status,
        "code": one.code,
        "message": _LATE if stale else MESSAGES.get(one.code or ""),
        "stale": stale,
    }
