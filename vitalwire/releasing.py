"""Releases held operations on an operator's order; the order is audited in the same transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from adapters.ledger import SqlLedger
from schemas.audit import Step
from schemas.operation import Operation, State
from schemas.ports.ledger import OutboxEntries


class Order(NamedTuple):
    """What to release, who ordered it, and why."""

    operation_ids: Sequence[str]
    actor: str
    reason: str


def release(ledger: SqlLedger, order: Order) -> list[str]:
    """The ids that were held and are released. The outbox publishes the order on `audit.events`."""
    named = (ledger.operation(operation_id) for operation_id in order.operation_ids)
    held = [operation for operation in named if operation is not None and operation.state is State.HELD]
    entries = {operation.operation_id: OutboxEntries("operator", [_step(operation, order)]) for operation in held}
    return ledger.release(list(entries), entries)


def _step(operation: Operation, order: Order) -> Step:
    return Step(
        operation.intent.tenant_id,
        "operation.release_ordered",
        "success",
        operation.operation_id,
        operation.intent.endpoint,
        operation.intent.source.event_id,
        order.reason,
        order.actor,
    )
