"""However retention, closing windows and crashes follow each other, each offset that was removed unread is counted once."""

from __future__ import annotations

import asyncio
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from adapters.metrics import PrometheusObserver
from schemas.ports.kafka import PartitionOffsets
from schemas.progress import PartitionProgress, furthest
from streams.telemetry.retention import Retention
from tests.doubles.ports import KeptFromTheStart, MemoryProducer, retention

Step = Literal["append", "read", "settle", "remove", "tell", "commit", "crash"]
STEPS: list[Step] = ["append", "read", "settle", "remove", "tell", "commit", "crash"]


class Log:
    """One partition and its worker, with what a perfect observer would know."""

    def __init__(self) -> None:
        self.end = self.first = self.position = self.settled = self.committed = 0
        self.kept = KeptFromTheStart()
        self.lost: set[int] = set()
        self.durable: PartitionProgress | None = None
        self.worker: Retention

    async def start(self) -> None:
        self.worker = retention(MemoryProducer(), PrometheusObserver(), self.kept)
        self.kept.kept = PartitionOffsets(self.committed or None, self.first)
        due = max(self.committed, self.durable.settled if self.durable else 0)
        found = await self.worker.assigned(0, self.durable)
        assert found == (self.first if self.first > due else None)
        self.lost |= set(range(due, self.first))
        self.position = self.settled = max(due, self.first)

    async def step(self, step: Step, n: int) -> None:
        self.kept.kept = PartitionOffsets(self.committed or None, self.first)
        match step:
            case "append":
                self.end += n
            case "read":
                if self.position < self.first:
                    self.lost |= set(range(self.position, self.first))
                    await self.worker.overtaken(0, self.position, self.first)
                    self.position = self.first
                self.position = min(self.end, self.position + n)
            case "settle":
                self.settled = min(self.position, self.settled + n)
            case "remove":
                self.first = min(self.end, self.first + n)
            case "tell":
                progress = PartitionProgress(
                    partition=0, position=self.position, settled=self.settled, open_readings=0, arrival_ms=0
                )
                self.durable = furthest(self.durable, self.worker.with_removed(progress))
            case "commit":
                self.committed = max(self.committed, self.durable.settled if self.durable else 0)
            case "crash":
                await self.start()


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(1, 9)), max_size=60))
def test_each_offset_removed_unread_is_counted_exactly_once_over_crashes(steps: list[tuple[Step, int]]) -> None:
    async def run() -> None:
        log = Log()
        await log.start()
        for step, n in steps:
            await log.step(step, n)
        await log.step("crash", 1)
        await log.step("read", 1)
        await log.step("tell", 1)
        assert log.durable is not None
        assert log.durable.removed_unread == len(log.lost)

    asyncio.run(run())
