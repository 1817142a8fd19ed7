"""Audit events in hash chains: a changed, removed or reordered event breaks the chain after it.

Roles with a ledger write their events through its outbox (`streams.runtime.outbox`). A role without one writes its own
chains, one per tenant and process, straight to Kafka: `AuditTrail`. `streams.audit.verification` verifies chains.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime

from schemas.audit import AuditEvent, Link, Step, chained
from schemas.ports.clock import Clock
from schemas.ports.kafka import Outgoing, Producer
from schemas.ports.observer import Observer
from schemas.topics import AUDIT
from streams.runtime.retry import retry_until_available

__all__ = ["AuditChain", "AuditTrail", "Step"]


class AuditChain:
    """The chains of one process. `writer` must be unique to the process's life, e.g. instance and start time."""

    def __init__(self, role: str, writer: str) -> None:
        self._role = role
        self._writer = writer
        self._links: dict[str, Link] = {}

    def extend(self, steps: Iterable[Step], at: datetime) -> list[AuditEvent]:
        """The steps as the next events of their tenants' chains."""
        return [self._next(step, at) for step in steps]

    def _next(self, step: Step, at: datetime) -> AuditEvent:
        link = self._links.get(step.tenant_id, Link(self._writer))
        event, self._links[step.tenant_id] = chained(step, link, self._role, at)
        return event


class AuditTrail:
    """Writes steps to `audit.events`, one write at a time, and returns when they are confirmed."""

    def __init__(self, chain: AuditChain, producer: Producer, clock: Clock, observer: Observer) -> None:
        self._chain = chain
        self._producer = producer
        self._clock = clock
        self._observer = observer
        self._writing = asyncio.Lock()

    async def write(self, steps: Sequence[Step], alongside: Sequence[Outgoing] = ()) -> None:
        """Produce the steps, together with other records, until Kafka confirms all."""
        async with self._writing:
            records = [*alongside, *map(_outgoing, self._chain.extend(steps, self._clock()))]
            if not records:
                return
            await retry_until_available(lambda: self._producer.send(records), "kafka", self._observer)
        for step in steps:
            self._observer.count("audit_events_total", action=step.action, outcome=step.outcome)


def _outgoing(event: AuditEvent) -> Outgoing:
    return Outgoing(AUDIT, event.tenant_id.encode(), event.model_dump_json().encode())
