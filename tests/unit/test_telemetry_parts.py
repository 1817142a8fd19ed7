"""Very many readings to quarantine: ingested in parts, so that the worker answers in between and memory stays bounded."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import orjson

from schemas.topics import QUARANTINE
from streams.runtime.batches import Batch, Record
from streams.telemetry.kernel.decode import MAX_MEASUREMENTS
from streams.telemetry.role import MAX_UNCONFIRMED_BATCHES, QUARANTINE_BATCH_RECORDS
from tests.conditions import until
from tests.doubles.telemetry_role import TOPIC, TelemetryHarness
from tests.property.kernel_logs import BASE_MS, measured

REFUSALS = 100_000
FRAME = b'{"device_id":"d1","readings":[' + b",".join([b"1"] * 5_000) + b"]}"


async def test_many_refusals_are_validated_in_parts_between_which_the_event_loop_runs(
    telemetry: TelemetryHarness,
):
    """Bounded is the work of one step; how long it takes is the machine's."""
    frames = [Record(n, BASE_MS, b"d1", FRAME, ()) for n in range(REFUSALS // 5_000)]
    kernel = telemetry.role._kernels[0]
    ingest, steps, turns, most_sent = kernel.ingest, [], 0, 0

    def counted(*given):
        result = ingest(*given)
        steps.append((len(result.quarantined), turns))
        return result

    async def turning():
        nonlocal turns, most_sent
        while True:
            turns, most_sent = turns + 1, max(most_sent, len(telemetry.producer.sent))
            telemetry.producer.sent.clear()
            await asyncio.sleep(0)

    kernel.ingest = counted
    beside = asyncio.create_task(turning())
    await telemetry.role.process(Batch(TOPIC, 0, [*frames, measured(len(frames), BASE_MS)]))
    beside.cancel()

    assert sum(refused for refused, _ in steps) == REFUSALS
    assert max(refused for refused, _ in steps) <= MAX_MEASUREMENTS + 5_000
    assert all(later > earlier for (_, earlier), (_, later) in pairwise(steps))
    assert most_sent <= QUARANTINE_BATCH_RECORDS * (MAX_UNCONFIRMED_BATCHES + 1)
    assert kernel.position == len(frames) + 1


async def test_no_offset_settles_between_the_parts_of_many_refused_readings(telemetry: TelemetryHarness):
    """A closing pass may come at any moment; a settled reading that is on no topic yet would be lost with the worker."""
    frame = orjson.dumps({"device_id": "d1", "readings": [1] * 5_000})
    frames = [Record(n, BASE_MS, b"d1", frame, ()) for n in range(6)]
    seen: list[tuple[int, int]] = []

    async def closing():
        while True:
            await telemetry.role.close_due()
            sent = sum(1 for record in telemetry.producer.sent if record.topic == QUARANTINE)
            seen.append((telemetry.role.settled().get(0, 0), sent))
            await asyncio.sleep(0)

    beside = asyncio.create_task(closing())
    await telemetry.role.process(Batch(TOPIC, 0, frames))
    await until(lambda: telemetry.role.settled().get(0) == len(frames))
    beside.cancel()

    assert [(settled, sent) for settled, sent in seen if sent < settled * 5_000] == []
    assert len(telemetry.sent(QUARANTINE)) == 30_000
