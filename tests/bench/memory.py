"""The most memory that the telemetry role needs at 100,000 devices of one reading a second, in a process of its own.

As a process: `python -m tests.bench.memory DEVICES SECONDS FILE`. The role is the product's with all its imports, all four
partitions, and pairings of every device; There is no Kafka; the batches that may wait for the role at once stand for its
client's buffers. Simulated seconds follow each other as quickly as the role can work.
"""

from __future__ import annotations

import asyncio
import json
import sys
from array import array
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import vitalwire.roles.telemetry  # noqa: F401 (its weight is the worker's own)
from adapters.metrics import PrometheusObserver
from schemas.config import Config
from schemas.ports.kafka import Outgoing
from schemas.progress import DeviceProgress, PartitionProgress
from schemas.reference import Pairing
from schemas.topics import QUARANTINE, READINGS, WINDOWS
from streams.runtime.batches import Batch, Record
from streams.runtime.worker import BUFFERED_BATCHES, MAX_BATCH_RECORDS
from streams.telemetry.kernel.vital_table import VitalTable
from streams.telemetry.role import TelemetryPorts, TelemetryRole
from tests.bench.machine import peak_rss_mib, rss_mib
from tests.bench.plan import BenchResult, Plan
from tests.bench.processes import result_of
from tests.bench.readings import TENANT, VITALS, pairings
from tests.bench.servers import PARTITIONS
from tests.doubles.ports import retention

DEVICES, SECONDS = 100_000, 240
PASSES_A_SECOND = 4
BEGAN_MS = 1_767_607_200_000
ENDS_WITHIN_S = 1800.0


def measure(plan: Plan) -> BenchResult:
    """Peak resident memory, in MiB, of one run: it is the same in every run."""
    for _ in plan.each("memory", [f"{DEVICES:,} devices, {SECONDS} s of measurements"]):
        found = result_of("memory", [str(DEVICES), str(SECONDS)], plan.directory, within_s=ENDS_WITHIN_S)
    return BenchResult({"memory_100k_mib": round(found["peak_mib"])}, [found])


class _Paired:
    """Every device is paired."""

    def __init__(self, devices: int) -> None:
        self._pairings = {(p.tenant_id, p.device_id): p for p in pairings(devices)}

    def pairings_version(self) -> int:
        return 1

    def pairings(self) -> Mapping[tuple[str, str], Pairing]:
        return self._pairings

    def is_current(self) -> bool:
        return True


class _Sink:
    """Counts what is produced and forgets it."""

    def __init__(self) -> None:
        self.windows = self.quarantined = 0

    async def send(self, records: Sequence[Outgoing]) -> None:
        self.windows += sum(record.topic is WINDOWS for record in records)
        self.quarantined += sum(record.topic is QUARANTINE for record in records)


async def _nothing_quarantined(_partition: int, _first_offset: int, _since_ms: int) -> array[int]:
    return array("q")


async def _no_progress(_partition: int) -> tuple[list[DeviceProgress], PartitionProgress | None]:
    return [], None


def _sent(at: int, pass_: int, partition: int, devices: int) -> Iterator[Batch]:
    """What a partition gets in the part of second `at` before this closing pass: one reading a device and second."""
    vital, unit = VITALS[at % len(VITALS)]
    now_ms = BEGAN_MS + at * 1000 + pass_ * 1000 // PASSES_A_SECOND
    own = range(partition + PARTITIONS * pass_, devices, PARTITIONS * PASSES_A_SECOND)
    first = (at * PASSES_A_SECOND + pass_) * len(own)
    for start in range(0, len(own), MAX_BATCH_RECORDS):
        part = own[start : start + MAX_BATCH_RECORDS]
        values = [_reading(device, vital, unit, now_ms) for device in part]
        records = [Record(first + start + n, now_ms + 200, None, value, ()) for n, value in enumerate(values)]
        yield Batch(READINGS.name, partition, records)


def _reading(device: int, vital: str, unit: str, now_ms: int) -> bytes:
    value = 36 + device % 40 / 10 if vital == "body_temperature" else 60 + device % 40
    return (
        f'{{"tenant_id":"{TENANT}","device_id":"mon-{device}","type":"{vital}","value":{value},"unit":"{unit}",'
        f'"time":{now_ms + device % 900}}}'
    ).encode()


async def _confirmed() -> None:
    """Nothing is on its way any more: a broker confirms before the next closing pass."""
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))


async def _simulate(devices: int, seconds: int) -> dict[str, Any]:
    sink, reference = _Sink(), _Paired(devices)
    loaders, observer = (_no_progress, _nothing_quarantined), PrometheusObserver()
    ports = TelemetryPorts(
        sink,  # type: ignore[arg-type]
        reference,  # type: ignore[arg-type]
        *loaders,
        observer,
        lambda: datetime.now(UTC),
        retention(sink, observer),  # type: ignore[arg-type]
    )
    role = TelemetryRole(VitalTable(Config()), b"benchmark", READINGS.name, ports)
    await role.assigned(range(PARTITIONS))
    before_mib = rss_mib()
    waiting: deque[Batch] = deque(maxlen=BUFFERED_BATCHES)
    for at in range(seconds):
        for pass_ in range(PASSES_A_SECOND):
            for partition in range(PARTITIONS):
                for batch in _sent(at, pass_, partition, devices):
                    waiting.append(batch)
                    await role.process(batch)
            await role.close_due()
            await _confirmed()
    if sink.quarantined or not sink.windows:
        raise SystemExit("the telemetry role did not window the readings of the benchmark")
    about = {"devices": devices, "seconds": seconds, "readings": devices * seconds, "windows": sink.windows}
    return about | {"before_mib": before_mib, "end_mib": rss_mib(), "peak_mib": peak_rss_mib()}


if __name__ == "__main__":
    Path(sys.argv[3]).write_text(json.dumps(asyncio.run(_simulate(int(sys.argv[1]), int(sys.argv[2])))))
