"""The clinical role: closed windows become intents in the ledger, or are set aside with a reason.

One ledger transaction for what a batch holds (at most 500 results), before anything else that a batch causes, for that is
the step a clinician waits for. Offsets are settled when intents, quarantine, dead letters and audit are all confirmed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from pydantic import ValidationError

from schemas.audit import Step
from schemas.config import Config
from schemas.errors import RetryLater
from schemas.operation import Intent
from schemas.ports.clock import Clock
from schemas.ports.kafka import Outgoing, Position, Producer
from schemas.ports.ledger import Beside, Ledger, Recorded
from schemas.ports.observer import Observer
from schemas.ports.reference import ReferenceData
from schemas.topics import DLQ_CLINICAL, QUARANTINE, WINDOWS
from schemas.window import Window
from streams.clinical.audit_steps import recorded_steps, refused_steps, unrendered_steps
from streams.clinical.intents import Decision, Refusal, Render, Unrendered, build_intents, set_aside
from streams.clinical.panels import HOLD_MS, Arrived, Group, PanelJoiner
from streams.clinical.retention import LoadKept, Retention
from streams.runtime.batches import Batch, Record, Removed
from streams.runtime.dead_letters import dead_letter
from streams.runtime.fail_fast import exit_on_error
from streams.runtime.quarantine_sender import send_quarantined
from streams.runtime.retry import retry_until_available
from streams.runtime.unreadable_records import dead_letter_of

_RESULTS_A_TRANSACTION = 500
_UNKNOWN_TENANT = "unknown"
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


class ClinicalRole:
    """`streams.runtime.batches.BatchRole` over `vitals.windows`."""

    def __init__(self, ports: ClinicalPorts, hold_s: float = HOLD_MS / 1000, topic: str = WINDOWS.name) -> None:
        self._ports = ports
        self._topic = topic
        self._hold_s = hold_s
        self._retention = Retention(topic, ports.config, ports.load_kept, ports.ledger, ports.observer)
        self._joiners: dict[int, PanelJoiner] = {}
        self._settled: dict[int, int] = {}
        self._starts: dict[int, int] = {}
        self._durable: dict[int, int] = {}
        self._silences: dict[int, asyncio.TimerHandle] = {}
        self._flushes: dict[int, asyncio.Task[None]] = {}
        self._working = asyncio.Lock()

    async def assigned(self, partitions: Collection[int]) -> None:
        """Begin with nothing held: what was held before is read again from the committed offset.

        What the ledger lost (a failover, a restored backup) is read again from where its intents end.
        """
        ports = self._ports
        durable = await retry_until_available(
            lambda: asyncio.to_thread(ports.ledger.positions, self._topic), "ledger", ports.observer
        )
        for partition in partitions:
            self._joiners[partition] = PanelJoiner()
            start = await self._retention.assigned(partition, durable.get(partition))
            if start is not None:
                self._starts[partition] = start

    async def revoked(self, partitions: Collection[int]) -> None:
        """Forget the partitions."""
        for partition in partitions:
            self._joiners.pop(partition, None)
            for known in (self._settled, self._starts, self._durable):
                known.pop(partition, None)
            self._stop_waiting(partition)
            if task := self._flushes.pop(partition, None):
                task.cancel()

    async def process(self, batch: Batch) -> None:
        """Judge every window of the batch; return when what it caused is confirmed or a panel member is held."""
        self._stop_waiting(batch.partition)
        if (flush := self._flushes.pop(batch.partition, None)) is not None:
            await flush
        async with self._working:
            joiner = self._joiners.setdefault(batch.partition, PanelJoiner())
            if batch.removed is not None:
                await self._overtaken(joiner, batch, batch.removed)
            await self._keep_unparsed(batch)
            for records in _parts(batch.records):
                await self._take(joiner, batch.topic, batch.partition, records)
                self._settle(batch.partition, joiner, records[-1].offset + 1)
            await self._record([], _reached(joiner, batch.topic, batch.partition, batch.end))
            self._settle(batch.partition, joiner, batch.end)
        if joiner.earliest_held() is not None:
            self._wait_for_silence(batch.topic, batch.partition, batch.end)

    async def _overtaken(self, joiner: PanelJoiner, batch: Batch, removed: Removed) -> None:
        """What was read before the gap is durable before the gap is counted: only what was not read is lost."""
        if removed.first_offset is not None:
            await self._chart_held(joiner, batch.topic, batch.partition, removed.first_offset)
        await self._retention.overtaken(batch.partition, removed.end)

    async def _keep_unparsed(self, batch: Batch) -> None:
        """What no record could be made of, before anything after it settles."""
        for one in batch.unreadable:
            self._ports.observer.count("dead_letters_total", stage="clinical", code=one.reason)
        source = f"{batch.topic}/{batch.partition}/"
        letters = [dead_letter_of(one, DLQ_CLINICAL, batch.topic, batch.partition) for one in batch.unreadable]
        if letters:
            await retry_until_available(
                lambda: send_quarantined(self._ports.producer, letters), "kafka", self._ports.observer
            )
        steps = [
            Step(_UNKNOWN_TENANT, "record.dead_lettered", "failure", source=f"{source}{one.first_offset}")
            for one in batch.unreadable
        ]
        await self._record([], None, steps)

    def settled(self) -> Mapping[int, int]:
        """Up to where every record was judged and confirmed; a held panel member keeps its place."""
        return dict(self._settled)

    def start_at(self) -> Mapping[int, int]:
        """Where the ledger's intents end; once something settled, there, until Kafka's own offset is as far back."""
        return {partition: self._settled.get(partition, start) for partition, start in self._starts.items()}

    def _settle(self, partition: int, joiner: PanelJoiner, position: int) -> None:
        """Only after confirmation: a result leaves the joiner before it is durable, and a commit may come in between."""
        if self._joiners.get(partition) is joiner:
            self._settled[partition] = _reached(joiner, self._topic, partition, position).next_offset

    async def _take(self, joiner: PanelJoiner, topic: str, partition: int, records: Sequence[Record]) -> None:
        arrived, broken = _decoded(records)
        groups: list[Group] = []
        for one in arrived:
            group = joiner.take(one)
            if group is not None:
                groups.append(group)
        groups += joiner.overdue(max(record.timestamp_ms for record in records))
        letters = [dead_letter(DLQ_CLINICAL, topic, partition, record, "malformed") for record in broken]
        steps = [
            Step(_UNKNOWN_TENANT, "record.dead_lettered", "failure", source=f"{topic}/{partition}/{record.offset}")
            for record in broken
        ]
        if broken:
            self._ports.observer.count("dead_letters_total", len(broken), stage="clinical", code="malformed")
        await self._chart(groups, _reached(joiner, topic, partition, records[-1].offset + 1), letters, steps)

    async def _chart(
        self, groups: Sequence[Group], reached: Position, letters: list[Outgoing], steps: list[Step]
    ) -> None:
        """Intents at once; what is set aside is confirmed by Kafka before the ledger says that it was."""
        judged = await retry_until_available(
            lambda: asyncio.to_thread(self._judge, groups), "reference", self._ports.observer
        )
        intents = [one for one in judged if isinstance(one, Intent)]
        for one in judged:
            if isinstance(one, Refusal):
                letters += self._refuse(one, reached.topic, reached.partition)
                steps += refused_steps(one)
            elif isinstance(one, Unrendered):
                letters += self._unrendered(one, reached.topic, reached.partition)
                steps += unrendered_steps(one)
        if letters:
            await self._record(intents, reached)
            await retry_until_available(
                lambda: send_quarantined(self._ports.producer, letters), "kafka", self._ports.observer
            )
            intents = []
        await self._record(intents, reached, steps)

    def _judge(self, groups: Sequence[Group]) -> list[Decision]:
        if not self._ports.reference.is_current():
            raise RetryLater("reference data is not current; windows wait until it is")
        config = self._ports.config()
        judged: list[Decision] = []
        for group in groups:
            verdicts = build_intents(group, config, self._ports.reference, self._ports.render)
            if not verdicts:
                self._count("not_published", "", len(group))
            judged += verdicts
        return judged

    async def _record(self, intents: Sequence[Intent], reached: Position | None, steps: Sequence[Step] = ()) -> None:
        """Intents and audit steps, and in the same transaction up to where nothing is missing from the ledger."""
        known = reached is None or reached.next_offset <= self._durable.get(reached.partition, 0)
        if known and not intents and not steps:
            return
        ports = self._ports

        def beside(recorded: Sequence[Recorded]) -> Beside:
            return Beside(_ROLE, [*recorded_steps(intents, recorded), *steps])

        recorded = await retry_until_available(
            lambda: asyncio.to_thread(ports.ledger.record, intents, reached, beside), "ledger", ports.observer
        )
        if reached is not None:
            self._durable[reached.partition] = reached.next_offset
        now = ports.clock()
        for intent, entry in zip(intents, recorded, strict=True):
            self._count(_outcome(entry), "", len(intent.source.part_ids))
            if intent.produced_at is not None and not entry.duplicate:
                ports.observer.seconds("window_to_intent_seconds", (now - intent.produced_at).total_seconds())

    def _refuse(self, refusal: Refusal, topic: str, partition: int) -> list[Outgoing]:
        self._count("quarantined", refusal.reason, len(refusal.group))
        tenant = self._ports.config().tenants.get(refusal.group[0].window.tenant_id)
        kept = set_aside(refusal, topic, partition, tenant.endpoints if tenant else ())
        return [Outgoing(QUARANTINE, (one.device_id or "").encode(), one.model_dump_json().encode()) for one in kept]

    def _unrendered(self, fault: Unrendered, topic: str, partition: int) -> list[Outgoing]:
        self._count("dead_letter", fault.code, len(fault.group))
        self._ports.observer.count("dead_letters_total", len(fault.group), stage="clinical", code=fault.code)
        return [dead_letter(DLQ_CLINICAL, topic, partition, arrived.record, fault.code) for arrived in fault.group]

    def _count(self, outcome: str, reason: str, windows: int) -> None:
        self._ports.observer.count("clinical_windows_total", windows, outcome=outcome, reason=reason)

    def _wait_for_silence(self, topic: str, partition: int, position: int) -> None:
        def begin() -> None:
            self._flushes[partition] = asyncio.create_task(exit_on_error(self._flush(topic, partition, position)))

        self._silences[partition] = asyncio.get_running_loop().call_later(self._hold_s, begin)

    def _stop_waiting(self, partition: int) -> None:
        if timer := self._silences.pop(partition, None):
            timer.cancel()

    async def _flush(self, topic: str, partition: int, position: int) -> None:
        """A partition that went silent brings no other member: chart what is held as it is."""
        async with self._working:
            joiner = self._joiners.get(partition)
            if joiner is not None:
                await self._chart_held(joiner, topic, partition, position)
                self._settle(partition, joiner, position)

    async def _chart_held(self, joiner: PanelJoiner, topic: str, partition: int, position: int) -> None:
        alone = joiner.overdue(None)
        await self._chart(alone, _reached(joiner, topic, partition, position), [], [])


def _reached(joiner: PanelJoiner, topic: str, partition: int, position: int) -> Position:
    """A panel member that waits for the other keeps its place."""
    first_held = joiner.earliest_held()
    return Position(topic, partition, position if first_held is None else min(first_held, position))


def _decoded(records: Sequence[Record]) -> tuple[list[Arrived], list[Record]]:
    arrived: list[Arrived] = []
    broken: list[Record] = []
    for record in records:
        try:
            arrived.append(Arrived(Window.model_validate_json(record.value or b""), record))
        except ValidationError:
            broken.append(record)
    return arrived, broken


def _outcome(entry: Recorded) -> str:
    if entry.duplicate:
        return "duplicate"
    return "amended" if entry.amends else "recorded"


def _parts(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    for start in range(0, len(records), _RESULTS_A_TRANSACTION):
        yield records[start : start + _RESULTS_A_TRANSACTION]
