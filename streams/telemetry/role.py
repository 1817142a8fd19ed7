"""The telemetry role: readings in; windows, refusals and late readings out; offsets settled when all of it is confirmed."""

from __future__ import annotations

import asyncio
from array import array
from bisect import bisect_left
from collections import Counter
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
from streams.runtime.batches import Batch
from streams.runtime.columns import Columns, columns_of
from streams.runtime.dead_letters import dead_letter
from streams.runtime.fail_fast import exit_on_error
from streams.runtime.quarantine_send import send_set_aside
from streams.runtime.retry import retry_until_available
from streams.runtime.unparsed import letter, quarantined
from streams.telemetry.kernel.compiled import NEVER
from streams.telemetry.kernel.partition import Aside, Closed, Ingested, PartitionKernel
from streams.telemetry.kernel.vital_table import VitalTable
from streams.telemetry.quarantine import LONGEST_COPIED_BYTES, aside_record, withdrawal_record
from streams.telemetry.retention import Retention

LoadProgress = Callable[[int], Awaitable[tuple[Sequence[DeviceProgress], PartitionProgress | None]]]
LoadSetAside = Callable[[int, int, int], Awaitable["array[int]"]]
"""(partition, first offset read, when it was appended) → offset and place in turn of what was set aside from there on."""
SilentFor = Callable[[int, int], int | None]
"""(partition, position) → for how many milliseconds nothing has followed it; None while something does."""
REFERENCE_PAUSE_S = 0.2
ASIDES_AT_ONCE = 1_000
"""Refused and late readings that are made into records in one go."""
MOST_UNCONFIRMED = 8
"""So many of those may be unconfirmed at once, of one partition."""


@dataclass(frozen=True, slots=True)
class TelemetryPorts:
    """What the role asks of the outside."""

    producer: Producer
    reference: ReferenceData
    load_progress: LoadProgress
    load_set_aside: LoadSetAside
    observer: Observer
    clock: Clock
    retention: Retention


class TelemetryRole:
    """A BatchRole around one kernel a partition. One batch or closing pass at a time."""

    def __init__(self, vitals: VitalTable, identity_key: bytes, topic: str, ports: TelemetryPorts) -> None:
        self._vitals, self._key, self._topic = vitals, identity_key, topic
        self._producer, self._reference = ports.producer, ports.reference
        self._load_progress, self._load_set_aside = ports.load_progress, ports.load_set_aside
        self._observer, self._clock, self._retention = ports.observer, ports.clock, ports.retention
        self._kernels: dict[int, PartitionKernel] = {}
        self._settled: dict[int, int] = {}
        self._told: dict[int, PartitionProgress] = {}
        self._unconfirmed: dict[int, list[asyncio.Task[None]]] = {}
        self._passes: dict[int, asyncio.Task[None]] = {}
        self.silent_for: SilentFor = lambda _partition, _position: None

    async def assigned(self, partitions: Collection[int]) -> None:
        """Load what earlier owners closed, so that nothing is closed twice."""
        await self.revoked(list(self._kernels))
        self._observer.count("rebalances_total", event="assigned")
        for partition in partitions:
            devices, progress = await retry_until_available(
                partial(self._load_progress, partition), "kafka", self._observer
            )
            kernel = PartitionKernel(self._topic, partition, self._vitals, self._key)
            kernel.restore(devices, progress)
            first = await self._retention.assigned(partition, progress)
            if first is not None:
                kernel.pass_over(first)
            self._kernels[partition] = kernel

    async def revoked(self, partitions: Collection[int]) -> None:
        """Drop all state: open windows are read again by the next owner. What is on its way is let through first."""
        if partitions:
            self._observer.count("rebalances_total", event="revoked")
        for partition in partitions:
            self._kernels.pop(partition, None)
        for partition in partitions:
            await self._let_through(partition)
            self._settled.pop(partition, None)
            if self._told.pop(partition, None):
                self._show(partition, open_readings=0, age_s=0)

    async def _let_through(self, partition: int) -> None:
        under_way = self._unconfirmed.pop(partition, [])
        last_pass = self._passes.pop(partition, None)
        await asyncio.gather(*under_way, *([last_pass] if last_pass else []))

    def start_at(self) -> Mapping[int, int]:
        """What is committed is on Kafka itself, so nowhere but there."""
        return {}

    def settled(self) -> Mapping[int, int]:
        """Offsets whose every consequence is confirmed by Kafka."""
        return self._settled

    async def take(self, batch: Batch) -> None:
        """Judge one batch. Its refusals and late readings are on their way to Kafka; nothing settles before they are there."""
        kernel = self._kernels.get(batch.partition)
        await self._know_set_aside(batch)
        await self._reference_current()
        await self._count_removed(batch)
        if kernel is None or self._kernels.get(batch.partition) is not kernel:
            return  # the partition moved meanwhile: the batch is read again
        await self._keep_unparsed(batch, kernel)
        self._observer.count("batches_total", topic=self._topic)
        self._observer.gauge("batch_readings", len(batch.records))
        columns, more = columns_of(batch.records), True
        while more and self._kernels.get(batch.partition) is kernel:
            judged = self._judge(kernel, columns)
            more = judged.more
            if asides := [*judged.rejected, *judged.late]:
                await self._on_its_way(batch.partition, self._set_aside(batch, asides))
            if more:
                await asyncio.sleep(0)
        if not more:
            kernel.pass_over(batch.end)

    def _judge(self, kernel: PartitionKernel, columns: Columns) -> Ingested:
        """What is left of a batch, or so much of it as does not hold the others up."""
        began = perf_counter()
        version = self._reference.pairings_version()  # first: a change in between must look new at the next batch
        judged = kernel.ingest(columns, self._reference.pairings(), version)
        self._observer.seconds("kernel_seconds", perf_counter() - began, step="ingest")
        self._count(judged)
        return judged

    async def _set_aside(self, batch: Batch, asides: Sequence[Aside]) -> None:
        """Make records of refused and late readings and send them, in parts: others have their turn in between."""
        for begin in range(0, len(asides), ASIDES_AT_ONCE):
            part = asides[begin : begin + ASIDES_AT_ONCE]
            records = [aside_record(aside, self._topic, batch.partition) for aside in part]
            await self._keep([*records, *self._dead_letters(batch, part)])
            await asyncio.sleep(0)

    async def _know_set_aside(self, batch: Batch) -> None:
        """Before a partition's first batch: what earlier owners set aside of the records that now come again."""
        kernel = self._kernels.get(batch.partition)
        if kernel is None or kernel.knows_set_aside or not batch.records:
            return
        first = batch.records[0]
        load = partial(self._load_set_aside, batch.partition, first.offset, first.timestamp_ms)
        kernel.restore_set_aside(await retry_until_available(load, "kafka", self._observer))

    async def _count_removed(self, batch: Batch) -> None:
        kernel = self._kernels.get(batch.partition)
        if kernel is not None and batch.removed is not None:
            await self._retention.overtaken(batch.partition, kernel.position, batch.removed.end)

    def _dead_letters(self, batch: Batch, asides: Sequence[Aside]) -> Iterator[Outgoing]:
        """Records that are no reading at all, as they were: what a mended sender or decoder can be fed with again.

        One too long to be copied stays where it is; its quarantine record says where.
        """
        for aside in asides:
            copied = len(aside.text) <= LONGEST_COPIED_BYTES
            if copied and aside.reason == Reason.MALFORMED and aside.device_id is None:
                self._observer.count("dead_letters_total", stage="telemetry", code=aside.reason)
                record = batch.records[bisect_left(batch.records, aside.offset, key=lambda r: r.offset)]
                yield dead_letter(DLQ_TELEMETRY, batch.topic, batch.partition, record, aside.reason)

    async def _keep_unparsed(self, batch: Batch, kernel: PartitionKernel) -> None:
        """What no record could be made of is set aside with its bytes; nothing in it can be judged."""
        new = [one for one in batch.unparsed if one.offset >= max(kernel.judged_position, kernel.position or 0)]
        for one in new:
            self._observer.count("readings_total", outcome="quarantined", reason=one.reason)
            self._observer.count("dead_letters_total", stage="telemetry", code=one.reason)
        if new:
            records = [quarantined(one, self._topic, batch.partition) for one in new]
            records += [letter(one, DLQ_TELEMETRY, batch.topic, batch.partition) for one in new]
            await self._on_its_way(batch.partition, self._keep(records))

    async def _on_its_way(self, partition: int, sending: Coroutine[Any, Any, None]) -> None:
        """Send without waiting, unless too much is unconfirmed already. From here on nothing settles before all of it."""
        tasks = self._unconfirmed.setdefault(partition, [])
        tasks.append(asyncio.create_task(exit_on_error(sending)))
        while len(tasks) > MOST_UNCONFIRMED:
            await tasks[0]
            del tasks[0]

    async def _reference_current(self) -> None:
        """Fail closed: without current pairings no reading is taken."""
        while not self._reference.is_current():
            self._observer.gauge("worker_ready", 0, role="telemetry")
            await asyncio.sleep(REFERENCE_PAUSE_S)
        self._observer.gauge("worker_ready", 1, role="telemetry")

    async def close_due(self) -> None:
        """Begin a closing pass over every partition whose last pass is confirmed."""
        for partition in list(self._kernels):
            last = self._passes.get(partition)
            if last is None or last.done():
                self._passes[partition] = asyncio.create_task(exit_on_error(self._close(partition)))
                await asyncio.sleep(0)

    async def _close(self, partition: int) -> None:
        """Pass after pass while more is due, by the newest pairings; readings are taken in between.

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
            self._observer.seconds("kernel_seconds", perf_counter() - began, step="close")
            await self._tell(kernel, closed, self._unconfirmed.pop(partition, []))
            more = closed.more

    async def _tell(self, kernel: PartitionKernel, closed: Closed, before: Sequence[asyncio.Task[None]]) -> None:
        """Windows and refusals, then progress, then the settled offset: each only when what is before it is confirmed."""
        partition = kernel.partition
        out = [Outgoing(WINDOWS, window.key, window.value) for window in closed.windows]
        out += [withdrawal_record(w, self._topic, partition) for w in closed.withdrawn]
        await self._confirm(out)
        self._count_windows(closed)
        await asyncio.gather(*before)
        if closed.partition is None:
            return
        await self._confirm([_device_record(progress, partition) for progress in closed.devices])
        progress = self._retention.told(closed.partition)
        if progress != self._told.get(partition):
            await self._confirm([_partition_record(progress)])
            self._told[partition] = progress
        if self._kernels.get(partition) is kernel:
            self._settled[partition] = closed.partition.settled
            self._gauges(kernel)

    async def _keep(self, records: Sequence[Outgoing]) -> None:
        await retry_until_available(lambda: send_set_aside(self._producer, records), "kafka", self._observer)

    async def _confirm(self, records: Sequence[Outgoing]) -> None:
        if records:
            await retry_until_available(lambda: self._producer.send(records), "kafka", self._observer)

    def _count(self, judged: Ingested) -> None:
        count = self._observer.count
        for reason, n in Counter(str(aside.reason) for aside in judged.rejected).items():
            count("readings_total", n, outcome="quarantined", reason=reason)
        if judged.late:
            count("readings_total", len(judged.late), outcome="late", reason="")

    def _count_windows(self, closed: Closed) -> None:
        count, windows = self._observer.count, closed.windows
        count("readings_total", sum(w.size for w in windows), outcome="windowed", reason="")
        count("readings_total", sum(w.duplicates for w in windows), outcome="duplicate", reason="")
        for reason, n in Counter(w.reason for w in closed.withdrawn).items():
            count("readings_total", n, outcome="quarantined", reason=str(reason))
        for (publish, cause), n in Counter((w.publish, w.cause or "") for w in windows).items():
            count("windows_total", n, publish="true" if publish else "false", cause=cause)
        now_ms = self._clock().timestamp() * 1000
        for window in windows:
            self._observer.seconds("measurement_to_window_seconds", max(0.0, (now_ms - window.end_ms) / 1000))

    def _gauges(self, kernel: PartitionKernel) -> None:
        oldest = kernel.store.oldest_open_end_ms()
        age_s = 0.0 if oldest is None or kernel.arrival_ms == NEVER else (kernel.arrival_ms - oldest) / 1000
        self._show(kernel.partition, kernel.store.open_rows, max(0.0, age_s))

    def _show(self, partition: int, open_readings: int, age_s: float) -> None:
        self._observer.gauge("open_readings", open_readings, partition=str(partition))
        self._observer.gauge("watermark_age_seconds", age_s, partition=str(partition))


def _device_record(progress: DeviceProgress, partition: int) -> Outgoing:
    key = f"{progress.tenant_id}|{progress.device_id}".encode()
    return Outgoing(PROGRESS, key, progress.model_dump_json().encode(), partition)


def _partition_record(progress: PartitionProgress) -> Outgoing:
    return Outgoing(PROGRESS, b"#partition", progress.model_dump_json().encode(), progress.partition)
