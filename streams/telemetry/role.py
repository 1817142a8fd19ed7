"""The telemetry role: readings in; windows, quarantined and late readings out. An offset settles once all are confirmed."""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

from schemas.ports.clock import Clock
from schemas.ports.kafka import Outgoing, Producer
from schemas.ports.observer import Observer
from schemas.ports.reference import ReferenceData
from schemas.progress import DeviceProgress, PartitionProgress
from schemas.reasons import Reason
from schemas.topics import DLQ_TELEMETRY, PROGRESS, WINDOWS
from streams.runtime import unreadable_records
from streams.runtime.batches import Batch
from streams.runtime.columns import Columns, columns_of
from streams.runtime.dead_letters import dead_letter
from streams.runtime.fail_fast import exit_on_error
from streams.runtime.quarantine_sender import send_quarantined
from streams.runtime.retry import retry_until_available
from streams.telemetry.counting import TelemetryCounters
from streams.telemetry.kernel.compiled import NEVER
from streams.telemetry.kernel.partition import Closed, Ingested, PartitionKernel
from streams.telemetry.kernel.quarantined import QuarantinedReading
from streams.telemetry.kernel.vital_table import VitalTable
from streams.telemetry.quarantine import MAX_COPIED_BYTES, quarantine_record, quarantine_record_of_row
from streams.telemetry.retention import Retention

LoadProgress = Callable[[int], Awaitable[tuple[Sequence[DeviceProgress], PartitionProgress | None]]]
LoadQuarantined = Callable[[int, int, int], Awaitable["array[int]"]]
"""(partition, first offset read, when it was appended) → offset and frame index in turn of what was quarantined from there."""
SilentFor = Callable[[int, int], int | None]
"""(partition, position) → for how many milliseconds nothing has followed it; None while something does."""
REFERENCE_PAUSE_S = 0.2
QUARANTINE_BATCH_RECORDS = 1_000
"""Quarantined and late readings that are serialised before the event loop gets its turn."""
MAX_UNCONFIRMED_BATCHES = 8
"""Of one partition: quarantined readings of so many batches may be unconfirmed at once."""


@dataclass(frozen=True, slots=True)
class TelemetryPorts:
    """What the role needs from outside."""

    producer: Producer
    reference: ReferenceData
    load_progress: LoadProgress
    load_quarantined: LoadQuarantined
    observer: Observer
    clock: Clock
    retention: Retention


class TelemetryRole:
    """A BatchRole around one kernel per partition. One batch or closing pass at a time."""

    def __init__(self, vitals: VitalTable, identity_key: bytes, topic: str, ports: TelemetryPorts) -> None:
        self._vitals, self._key, self._topic = vitals, identity_key, topic
        self._producer, self._reference = ports.producer, ports.reference
        self._load_progress, self._load_quarantined = ports.load_progress, ports.load_quarantined
        self._observer, self._retention = ports.observer, ports.retention
        self._counters = TelemetryCounters(ports.observer, ports.clock)
        self._kernels: dict[int, PartitionKernel] = {}
        self._settled: dict[int, int] = {}
        self._published_progress: dict[int, PartitionProgress] = {}
        self._unconfirmed: dict[int, list[asyncio.Task[None]]] = {}
        self._passes: dict[int, asyncio.Task[None]] = {}
        self.silent_for: SilentFor = lambda _partition, _position: None

    async def assigned(self, partitions: Collection[int]) -> None:
        """Load what earlier owners closed, so that nothing is closed twice."""
        await self.revoked(list(self._kernels))
        self._counters.rebalance("assigned")
        for partition in partitions:
            devices, progress = await retry_until_available(
                partial(self._load_progress, partition), "kafka", self._observer
            )
            kernel = PartitionKernel(self._topic, partition, self._vitals, self._key)
            kernel.restore(devices, progress)
            first = await self._retention.assigned(partition, progress)
            if first is not None:
                kernel.skip_to(first)
            self._kernels[partition] = kernel

    async def revoked(self, partitions: Collection[int]) -> None:
        """Drop all state: the next owner reads open windows again. Waits for what is being sent."""
        if partitions:
            self._counters.rebalance("revoked")
            self._drop_kernels(partitions)
        for partition in partitions:
            await self._await_unconfirmed(partition)
            self._settled.pop(partition, None)
            if self._published_progress.pop(partition, None):
                self._counters.nothing_open(partition)

    def _drop_kernels(self, partitions: Collection[int]) -> None:
        for partition in partitions:
            self._kernels.pop(partition, None)

    async def _await_unconfirmed(self, partition: int) -> None:
        sending = self._unconfirmed.pop(partition, [])
        last_pass = self._passes.pop(partition, None)
        await asyncio.gather(*sending, *([last_pass] if last_pass else []))

    def start_at(self) -> Mapping[int, int]:
        """Nothing: the progress is on Kafka itself, so a commit can never be ahead of it."""
        return {}

    def settled(self) -> Mapping[int, int]:
        """Offsets whose every consequence is confirmed by Kafka."""
        return self._settled

    async def process(self, batch: Batch) -> None:
        """Ingest one batch. Its quarantined and late readings are sent in the background; nothing settles before they are."""
        kernel = self._kernels.get(batch.partition)
        await self._restore_quarantined(batch)
        await self._await_reference()
        await self._count_removed(batch)
        if kernel is None or self._kernels.get(batch.partition) is not kernel:
            return  # the partition was revoked meanwhile: its next owner reads the batch
        await self._quarantine_unreadable(batch, kernel)
        self._counters.batch(self._topic, len(batch.records))
        columns, more = columns_of(batch.records), True
        while more and self._kernels.get(batch.partition) is kernel:
            result = self._ingest(kernel, columns)
            more = result.more
            if quarantined := [*result.quarantined, *result.late]:
                await self._send_in_background(batch.partition, self._quarantine(batch, quarantined))
            if more:
                await asyncio.sleep(0)
        if not more:
            kernel.skip_to(batch.end)

    def _ingest(self, kernel: PartitionKernel, columns: Columns) -> Ingested:
        """What is left of a batch, or as much of it as does not block the event loop."""
        began = perf_counter()
        version = self._reference.pairings_version()  # first: a change in between must look new at the next batch
        result = kernel.ingest(columns, self._reference.pairings(), version)
        self._counters.kernel_time(perf_counter() - began, "ingest")
        self._counters.ingested(result)
        return result

    async def _quarantine(self, batch: Batch, readings: Sequence[QuarantinedReading]) -> None:
        """Serialise and send quarantined and late readings in parts; the event loop gets its turn in between."""
        for begin in range(0, len(readings), QUARANTINE_BATCH_RECORDS):
            part = readings[begin : begin + QUARANTINE_BATCH_RECORDS]
            records = [quarantine_record(reading, self._topic, batch.partition) for reading in part]
            await self._send_quarantined([*records, *self._dead_letters(batch, part)])
            await asyncio.sleep(0)

    async def _restore_quarantined(self, batch: Batch) -> None:
        """Before a partition's first batch: what earlier owners quarantined of the records that are read again now."""
        kernel = self._kernels.get(batch.partition)
        if kernel is None or kernel.quarantine_restored or not batch.records:
            return
        first = batch.records[0]
        load = partial(self._load_quarantined, batch.partition, first.offset, first.timestamp_ms)
        kernel.restore_quarantined(await retry_until_available(load, "kafka", self._observer))

    async def _count_removed(self, batch: Batch) -> None:
        kernel = self._kernels.get(batch.partition)
        if kernel is not None and batch.removed is not None:
            await self._retention.overtaken(batch.partition, kernel.position, batch.removed.end)

    def _dead_letters(self, batch: Batch, readings: Sequence[QuarantinedReading]) -> Iterator[Outgoing]:
        """Records that are no reading at all, unchanged, to be sent again once the sender or decoder is fixed.

        A record too long to be copied is left out; its quarantine record says where it is.
        """
        for reading in readings:
            copied = len(reading.text) <= MAX_COPIED_BYTES
            if copied and reading.reason == Reason.MALFORMED and reading.device_id is None:
                self._counters.dead_letter(reading.reason)
                record = batch.records[bisect_left(batch.records, reading.offset, key=lambda r: r.offset)]
                yield dead_letter(DLQ_TELEMETRY, batch.topic, batch.partition, record, reading.reason)

    async def _quarantine_unreadable(self, batch: Batch, kernel: PartitionKernel) -> None:
        """Bytes that could not be parsed as records are quarantined as they are."""
        first = max(kernel.processed_position, kernel.position or 0)
        new = [found for found in batch.unreadable if found.offset >= first]
        for found in new:
            self._counters.unreadable(found.reason)
        if new:
            records = [unreadable_records.quarantine_record(found, self._topic, batch.partition) for found in new]
            records += [
                unreadable_records.dead_letter_of(found, DLQ_TELEMETRY, batch.topic, batch.partition) for found in new
            ]
            await self._send_in_background(batch.partition, self._send_quarantined(records))

    async def _send_in_background(self, partition: int, sending: Coroutine[Any, Any, None]) -> None:
        """Send without waiting, unless too much is unconfirmed already. Nothing settles before all of it is confirmed."""
        tasks = self._unconfirmed.setdefault(partition, [])
        tasks.append(asyncio.create_task(exit_on_error(sending)))
        while len(tasks) > MAX_UNCONFIRMED_BATCHES:
            await tasks[0]
            del tasks[0]

    async def _await_reference(self) -> None:
        """Fail closed: without current pairings no reading is processed."""
        while not self._reference.is_current():
            self._counters.ready(is_ready=False)
            await asyncio.sleep(REFERENCE_PAUSE_S)
        self._counters.ready(is_ready=True)

    async def close_due(self) -> None:
        """Start a closing pass over every partition whose last pass is confirmed."""
        for partition in list(self._kernels):
            last = self._passes.get(partition)
            if last is None or last.done():
                self._passes[partition] = asyncio.create_task(exit_on_error(self._close(partition)))
                await asyncio.sleep(0)

    async def _close(self, partition: int) -> None:
        """Pass after pass while more is due, by the newest pairings; batches are processed in between.

        Fails closed: without current pairings no window is closed.
        """
        more = True
        while more and (kernel := self._kernels.get(partition)) is not None and kernel.position is not None:
            if not self._reference.is_current():
                return
            version = self._reference.pairings_version()
            kernel.learn(self._reference.pairings(), version)
            silent_ms, arrived_ms = self.silent_for(partition, kernel.position), kernel.arrival_ms
            began = perf_counter()
            closed = kernel.close(None if silent_ms is None or arrived_ms == NEVER else arrived_ms + silent_ms)
            self._counters.kernel_time(perf_counter() - began, "close")
            await self._publish(kernel, closed, self._unconfirmed.pop(partition, []))
            more = closed.more

    async def _publish(self, kernel: PartitionKernel, closed: Closed, sending: Sequence[asyncio.Task[None]]) -> None:
        """Windows and quarantined readings, then progress, then the settled offset: each once the ones before are confirmed."""
        partition = kernel.partition
        out = [Outgoing(WINDOWS, window.key, window.value) for window in closed.windows]
        out += [quarantine_record_of_row(row, self._topic, partition) for row in closed.quarantined]
        await self._confirm(out)
        self._counters.closed(closed)
        await asyncio.gather(*sending)
        if closed.partition is None:
            return
        await self._confirm([_device_record(progress, partition) for progress in closed.devices])
        progress = self._retention.with_removed(closed.partition)
        if progress != self._published_progress.get(partition):
            await self._confirm([_partition_record(progress)])
            self._published_progress[partition] = progress
        if self._kernels.get(partition) is kernel:
            self._settled[partition] = closed.partition.settled
            self._counters.open_windows(kernel)

    async def _send_quarantined(self, records: Sequence[Outgoing]) -> None:
        await retry_until_available(lambda: send_quarantined(self._producer, records), "kafka", self._observer)

    async def _confirm(self, records: Sequence[Outgoing]) -> None:
        if records:
            await retry_until_available(lambda: self._producer.send(records), "kafka", self._observer)


def _device_record(progress: DeviceProgress, partition: int) -> Outgoing:
    key = f"{progress.tenant_id}|{progress.device_id}".encode()
    return Outgoing(PROGRESS, key, progress.model_dump_json().encode(), partition)


def _partition_record(progress: PartitionProgress) -> Outgoing:
    return Outgoing(PROGRESS, b"#partition", progress.model_dump_json().encode(), progress.partition)
