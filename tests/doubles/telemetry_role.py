"""A telemetry role whose producer, pairings, progress and kept offsets are in memory."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Sequence
from datetime import UTC, datetime

import orjson

from adapters.metrics import PrometheusObserver
from schemas.ports.kafka import Outgoing
from schemas.progress import DeviceProgress, PartitionProgress
from streams.telemetry.role import TelemetryPorts, TelemetryRole
from tests.doubles.ports import KeptFromTheStart, MemoryProducer, retention
from tests.property.kernel_logs import BASE_MS, KEY, TABLE, paired, pairings

TOPIC = "telemetry.readings"
LONG_AFTER_MS = BASE_MS + 3_600_000


class MemoryPairings:
    """Pairings as the telemetry keeps them; `current` is what a test says."""

    def __init__(self) -> None:
        self.current = True
        self.version, self.known = 1, pairings()

    def correct(self, device: str, *spans: tuple[str, int, int | None]) -> None:
        self.version, self.known = self.version + 1, self.known | {("north", device): paired(device, *spans)}

    def pairings_version(self) -> int:
        return self.version

    def pairings(self):
        return self.known

    def is_current(self) -> bool:
        return self.current


class GatedProducer(MemoryProducer):
    """Confirms a topic's records only when its gate is open."""

    def __init__(self) -> None:
        super().__init__()
        self.gates: dict[str, asyncio.Event] = {}

    async def send(self, records: Sequence[Outgoing]) -> None:
        await super().send(records)
        for name in {record.topic.name for record in records}:
            if gate := self.gates.get(name):
                await gate.wait()


class EarlierProgress:
    """Progress as an earlier owner left it."""

    def __init__(self) -> None:
        self.devices: list[DeviceProgress] = []
        self.partition: PartitionProgress | None = None
        self.quarantined: list[tuple[int, int]] = []

    async def load(self, _partition: int):
        return self.devices, self.partition

    async def load_quarantined(self, _partition: int, first_offset: int, _since_ms: int) -> array[int]:
        return array(
            "q",
            [number for coordinates in self.quarantined if coordinates[0] >= first_offset for number in coordinates],
        )


class TelemetryHarness:
    """A role with its doubles; silent partitions as the test says."""

    def __init__(self) -> None:
        self.producer, self.reference, self.kept = GatedProducer(), MemoryPairings(), EarlierProgress()
        self.offsets = KeptFromTheStart()
        self.observer = PrometheusObserver()
        ports = TelemetryPorts(
            self.producer,
            self.reference,
            self.kept.load,
            self.kept.load_quarantined,
            self.observer,
            lambda: datetime(2026, 1, 5, tzinfo=UTC),
            retention(self.producer, self.observer, self.offsets),
        )
        self.role = TelemetryRole(TABLE, KEY, TOPIC, ports)

    def sent(self, topic) -> list[dict]:
        return [orjson.loads(r.value) for r in self.producer.sent if r.topic == topic]

    async def close(self, *, silent: bool = True) -> None:
        if silent:
            self.role.silent_for = lambda _partition, _position: LONG_AFTER_MS
        await self.role.close_due()
        await self.settle()

    def seen(self, name: str, **labels: str) -> float | None:
        return self.observer.registry.get_sample_value(f"vitalwire_{name}", labels)

    async def settle(self) -> None:
        for _ in range(50):
            await asyncio.sleep(0)
