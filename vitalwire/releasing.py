"""Releasing held operations by a person's order: the order is on the audit trail before the ledger is changed."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from typing import NamedTuple

from adapters.ledger import SqlLedger
from adapters.metrics import PrometheusObserver
from schemas.errors import RetryLater
from schemas.operation import State
from schemas.ports import Producer
from streams.audit import AuditChain, AuditTrail, Step
from vitalwire.base import now
from vitalwire.settings import Settings
from vitalwire.wiring import producer

CONFIRMED_WITHIN_S = 30.0


class Order(NamedTuple):
    """Who wants what released, and why."""

    operation_ids: Sequence[str]
    actor: str
    reason: str


def release(settings: Settings, ledger: SqlLedger, order: Order) -> list[str]:
    """The ids that were held and are pending now. Without a confirmed audit event nothing is released."""
    steps = _steps(ledger, order)
    if not steps:
        return []
    with producer(settings) as sender:
        asyncio.run(_write(sender, steps))
    return ledger.release([step.operation_id for step in steps if step.operation_id])


def _steps(ledger: SqlLedger, order: Order) -> list[Step]:
    named = (ledger.operation(operation_id) for operation_id in order.operation_ids)
    return [
        Step(
            operation.intent.tenant_id,
            "operation.release_ordered",
            "success",
            operation.operation_id,
            operation.intent.endpoint,
            operation.intent.source_event_id,
            order.reason,
            order.actor,
        )
        for operation in named
        if operation is not None and operation.state is State.HELD
    ]


async def _write(sender: Producer, steps: Sequence[Step]) -> None:
    chain = AuditChain("operator", f"{socket.gethostname()}-{os.getpid()}-{now():%Y%m%dT%H%M%S%f}")
    try:
        async with asyncio.timeout(CONFIRMED_WITHIN_S):
            await AuditTrail(chain, sender, now, PrometheusObserver()).write(steps)
    except TimeoutError:
        raise RetryLater("Kafka did not confirm the audit event, so nothing was released. Try again.") from None
