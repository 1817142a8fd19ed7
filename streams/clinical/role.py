"""The clinical role: closed windows become intents in the ledger, or are quarantined with a reason.

One ledger transaction for what a batch holds (at most 500 results), before anything else that a batch causes: it is the step
that a clinician waits for. Offsets are settled when intents, quarantine records, dead letters and audit are all confirmed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence

from pydantic import ValidationError

from schemas.audit import Step
from schemas.ports.kafka import Position
from schemas.topics import DLQ_CLINICAL, WINDOWS
from schemas.window import Window
from streams.clinical.observing import ClinicalMetrics
from streams.clinical.panels import HOLD_MS, Arrived, Group, PanelJoiner
from streams.clinical.recording import ClinicalPorts, ResultRecorder
from streams.clinical.retention import Retention
from streams.runtime.batches import Batch, Record, Removed
from streams.runtime.dead_letters import dead_letter
from streams.runtime.fail_fast import exit_on_error
from streams.runtime.retry import retry_until_available
from streams.runtime.unreadable_records import dead_letter_of

_RESULTS_A_TRANSACTION = 500
_UNKNOWN_TENANT = "unknown"


class ClinicalRole:
    """`streams.runtime.batches.BatchRole` over `vitals.windows`."""

    def __init__(self, ports: ClinicalPorts, hold_s: float = HOLD_MS / 1000, topic: str = WINDOWS.name) -> None:
        self._ports = ports
        self._topic = topic
        self._hold_s = hold_s
        self._metrics = ClinicalMetrics(ports.observer, ports.clock)
        self._recorder = ResultRecorder(ports, self._metrics)
        self._retention = Retention(topic, ports.config, ports.load_kept, ports.ledger, ports.observer)
        self._joiners: dict[int, PanelJoiner] = {}
        self._settled: dict[int, int] = {}
        self._starts: dict[int, int] = {}
        self._silences: dict[int, asyncio.TimerHandle] = {}
        self._flushes: dict[int, asyncio.Task[None]] = {}
        self._working = asyncio.Lock()

    async def assigned(self, partitions: Collection[int]) -> None:
        """Begin with nothing held: what was held before is consumed again from the committed offset.

        What the ledger lost (a failover, a restored backup) is consumed again from where its intents end.
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
            self._settled.pop(partition, None)
            self._starts.pop(partition, None)
            self._recorder.revoked(partition)
            self._stop_waiting(partition)
            if task := self._flushes.pop(partition, None):
                task.cancel()

    async def process(self, batch: Batch) -> None:
        """Process every window of the batch; return when its effects are confirmed, or a panel member is held."""
        self._stop_waiting(batch.partition)
        if (flush := self._flushes.pop(batch.partition, None)) is not None:
            await flush
        async with self._working:
            joiner = self._joiners.setdefault(batch.partition, PanelJoiner())
            if batch.removed is not None:
                await self._overtaken(joiner, batch, batch.removed)
            await self._send_unreadable(batch)
            for records in _parts(batch.records):
                await self._process(joiner, batch.topic, batch.partition, records)
                self._settle(batch.partition, joiner, records[-1].offset + 1)
            await self._recorder.record([], _reached(joiner, batch.topic, batch.partition, batch.end))
            self._settle(batch.partition, joiner, batch.end)
        if joiner.earliest_held() is not None:
            self._wait_for_silence(batch.topic, batch.partition, batch.end)

    async def _overtaken(self, joiner: PanelJoiner, batch: Batch, removed: Removed) -> None:
        """Records before the gap are durable before the gap is counted: only what was not read is lost."""
        if removed.first_offset is not None:
            await self._chart_held(joiner, batch.topic, batch.partition, removed.first_offset)
        await self._retention.overtaken(batch.partition, removed.end)

    async def _send_unreadable(self, batch: Batch) -> None:
        """Records that cannot be read become dead letters before any later record settles."""
        for one in batch.unreadable:
            self._metrics.dead_letters(one.reason)
        letters = [dead_letter_of(one, DLQ_CLINICAL, batch.topic, batch.partition) for one in batch.unreadable]
        if letters:
            await self._recorder.send(letters)
        steps = [_dead_lettered(batch.topic, batch.partition, one.first_offset) for one in batch.unreadable]
        await self._recorder.record([], None, steps)

    def settled(self) -> Mapping[int, int]:
        """The offset before which every record is processed and confirmed; a held panel member keeps it back."""
        return dict(self._settled)

    def start_at(self) -> Mapping[int, int]:
        """Where the intents of the ledger end; once an offset is settled, that offset."""
        return {partition: self._settled.get(partition, start) for partition, start in self._starts.items()}

    def _settle(self, partition: int, joiner: PanelJoiner, position: int) -> None:
        """Only after confirmation: a result leaves the joiner before it is durable, and a commit may come in between."""
        if self._joiners.get(partition) is joiner:
            self._settled[partition] = _reached(joiner, self._topic, partition, position).next_offset

    async def _process(self, joiner: PanelJoiner, topic: str, partition: int, records: Sequence[Record]) -> None:
        arrived, malformed = _decoded(records)
        groups: list[Group] = []
        for one in arrived:
            group = joiner.take(one)
            if group is not None:
                groups.append(group)
        groups += joiner.overdue(max(record.timestamp_ms for record in records))
        self._metrics.dead_letters("malformed", len(malformed))
        letters = [dead_letter(DLQ_CLINICAL, topic, partition, record, "malformed") for record in malformed]
        steps = [_dead_lettered(topic, partition, record.offset) for record in malformed]
        await self._recorder.chart(groups, _reached(joiner, topic, partition, records[-1].offset + 1), letters, steps)

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
        await self._recorder.chart(alone, _reached(joiner, topic, partition, position), [], [])


def _reached(joiner: PanelJoiner, topic: str, partition: int, position: int) -> Position:
    """A panel member that waits for the other keeps the position back."""
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


def _dead_lettered(topic: str, partition: int, offset: int) -> Step:
    return Step(_UNKNOWN_TENANT, "record.dead_lettered", "failure", source=f"{topic}/{partition}/{offset}")


def _parts(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    for start in range(0, len(records), _RESULTS_A_TRANSACTION):
        yield records[start : start + _RESULTS_A_TRANSACTION]
