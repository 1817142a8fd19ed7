"""Results into the ledger: intents, quarantine records, dead letters and audit steps of one partition at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from schemas.audit import Step
from schemas.config import Config
from schemas.errors import RetryLater
from schemas.operation import Intent
from schemas.ports.clock import Clock
from schemas.ports.kafka import Outgoing, Position, Producer
from schemas.ports.ledger import Ledger, OutboxEntries, Recorded
from schemas.ports.observer import Observer
from schemas.ports.reference import ReferenceData
from schemas.topics import DLQ_CLINICAL, QUARANTINE
from streams.clinical.audit_steps import quarantined_steps, recorded_steps, unrendered_steps
from streams.clinical.intents import Decision, QuarantinedWindows, Render, Unrendered, build_intents, quarantine_records
from streams.clinical.observing import ClinicalMetrics
from streams.clinical.panels import Group
from streams.clinical.retention import LoadKept
from streams.runtime.dead_letters import dead_letter
from streams.runtime.quarantine_sender import send_quarantined
from streams.runtime.retry import retry_until_available

_ROLE = "clinical"


class ClinicalPorts(NamedTuple):
    """What the role works with."""

    config: Callable[[], Config]
    reference: ReferenceData
    render: Render
    ledger: Ledger
    producer: Producer
    observer: Observer
    clock: Clock
    load_kept: LoadKept


class ResultRecorder:
    """Decides on results and records them; remembers up to where each partition is durable in the ledger."""

    def __init__(self, ports: ClinicalPorts, metrics: ClinicalMetrics) -> None:
        self._ports = ports
        self._metrics = metrics
        self._durable: dict[int, int] = {}

    def revoked(self, partition: int) -> None:
        """Forget the partition."""
        self._durable.pop(partition, None)

    async def chart(
        self, groups: Sequence[Group], reached: Position, letters: Sequence[Outgoing], steps: Sequence[Step]
    ) -> None:
        """Record the intents first; the ledger audits the rest only after Kafka has confirmed it."""
        decisions = await retry_until_available(
            lambda: asyncio.to_thread(self._decide, groups), "reference", self._ports.observer
        )
        intents = [one for one in decisions if isinstance(one, Intent)]
        going = [*letters, *(record for one in decisions for record in self._records(one, reached))]
        steps = [*steps, *(step for one in decisions for step in _steps(one))]
        if going:
            await self.record(intents, reached)
            await self.send(going)
            intents = []
        await self.record(intents, reached, steps)

    async def record(self, intents: Sequence[Intent], reached: Position | None, steps: Sequence[Step] = ()) -> None:
        """Intents, audit steps and the position before which the ledger lacks nothing, in one transaction."""
        is_durable = reached is None or reached.next_offset <= self._durable.get(reached.partition, 0)
        if is_durable and not intents and not steps:
            return
        ports = self._ports

        def entries(recorded: Sequence[Recorded]) -> OutboxEntries:
            return OutboxEntries(_ROLE, [*recorded_steps(intents, recorded), *steps])

        recorded = await retry_until_available(
            lambda: asyncio.to_thread(ports.ledger.record, intents, reached, entries), "ledger", ports.observer
        )
        if reached is not None:
            self._durable[reached.partition] = reached.next_offset
        self._metrics.recorded(intents, recorded)

    async def send(self, records: Sequence[Outgoing]) -> None:
        """Returns when Kafka has confirmed all."""
        await retry_until_available(
            lambda: send_quarantined(self._ports.producer, records), "kafka", self._ports.observer
        )

    def _decide(self, groups: Sequence[Group]) -> list[Decision]:
        if not self._ports.reference.is_current():
            raise RetryLater("reference data is not current; windows wait until it is")
        config = self._ports.config()
        decisions: list[Decision] = []
        for group in groups:
            of_group = build_intents(group, config, self._ports.reference, self._ports.render)
            if not of_group:
                self._metrics.not_published(len(group))
            decisions += of_group
        return decisions

    def _records(self, decision: Decision, reached: Position) -> list[Outgoing]:
        if isinstance(decision, QuarantinedWindows):
            return self._quarantine(decision, reached)
        if isinstance(decision, Unrendered):
            self._metrics.unrendered(decision)
            at = reached.topic, reached.partition
            return [dead_letter(DLQ_CLINICAL, *at, arrived.record, decision.code) for arrived in decision.group]
        return []

    def _quarantine(self, quarantined: QuarantinedWindows, reached: Position) -> list[Outgoing]:
        self._metrics.quarantined(quarantined)
        tenant = self._ports.config().tenants.get(quarantined.group[0].window.tenant_id)
        records = quarantine_records(quarantined, reached.topic, reached.partition, tenant.endpoints if tenant else ())
        return [Outgoing(QUARANTINE, (one.device_id or "").encode(), one.model_dump_json().encode()) for one in records]


def _steps(decision: Decision) -> list[Step]:
    if isinstance(decision, QuarantinedWindows):
        return quarantined_steps(decision)
    return unrendered_steps(decision) if isinstance(decision, Unrendered) else []
