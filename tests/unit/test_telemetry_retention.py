"""Readings that retention removed before they were read: counted, audited, and never twice."""

from __future__ import annotations

import asyncio

import pytest

from schemas.errors import Unsafe
from schemas.ports.kafka import PartitionOffsets
from schemas.progress import PartitionProgress
from schemas.topics import AUDIT, PROGRESS
from streams.runtime.batches import Batch, Removed
from tests.doubles.telemetry_role import (
    TOPIC,
)
from tests.property.kernel_logs import BASE_MS, measured


def gap(first: int | None, end: int) -> Batch:
    return Batch(TOPIC, 0, [], next_offset=end, removed=Removed(first, end))


async def test_what_retention_removed_before_a_running_worker_is_counted_audited_and_kept_with_its_place(telemetry):
    await telemetry.role.process(Batch(TOPIC, 0, [measured(0, BASE_MS), measured(1, BASE_MS + 1000)]))
    telemetry.offsets.kept = PartitionOffsets(None, 9)
    await telemetry.role.process(gap(2, 7))
    await telemetry.close(silent=False)
    assert (
        telemetry.sent(PROGRESS)[-1] | {"removed_unread": 5, "counted_gaps": [[2, 7]]} == telemetry.sent(PROGRESS)[-1]
    )
    assert telemetry.role.settled() == {0: 0}, "an open window still needs what was before"
    assert telemetry.seen("readings_removed_unread_total", partition="0") == 5
    assert [(e["action"], e["source"]) for e in telemetry.sent(AUDIT)] == [
        ("readings.removed_unread", f"{TOPIC}/0/2-6")
    ]
    await telemetry.close()
    assert (telemetry.role.settled(), telemetry.sent(PROGRESS)[-1]["counted_gaps"]) == ({0: 7}, [])


async def test_what_a_dead_workers_open_windows_needed_and_is_gone_counts_with_it_and_nothing_counts_twice(telemetry):
    telemetry.kept.partition = PartitionProgress(
        partition=0, position=30, settled=10, open_readings=4, arrival_ms=BASE_MS, removed_unread=5, counted_gaps=((20, 25),)
    )  # fmt: skip
    telemetry.offsets.kept = PartitionOffsets(10, 40)
    await telemetry.role.assigned([0])
    await telemetry.close(silent=False)
    (progress,) = telemetry.sent(PROGRESS)
    assert (progress["position"], progress["settled"], progress["removed_unread"]) == (40, 40, 5 + 25)
    assert telemetry.role.settled() == {0: 40}


async def test_removed_readings_are_audited_before_their_count_is_kept(telemetry):
    telemetry.producer.gates = {AUDIT.name: asyncio.Event()}
    taking = asyncio.create_task(telemetry.role.process(gap(None, 3)))
    telemetry.offsets.kept = PartitionOffsets(None, 3)
    await telemetry.settle()
    assert telemetry.sent(AUDIT)
    assert not taking.done()
    await telemetry.close(silent=False)
    assert telemetry.role.settled() == {}
    telemetry.producer.gates[AUDIT.name].set()
    await asyncio.wait_for(taking, 10)
    await telemetry.close(silent=False)
    assert telemetry.role.settled() == {0: 3}


async def test_what_was_settled_and_not_yet_committed_when_retention_took_it_is_no_loss_and_ends_nothing(telemetry):
    telemetry.kept.partition = PartitionProgress(
        partition=0, position=20, settled=20, open_readings=0, arrival_ms=BASE_MS
    )
    telemetry.offsets.kept = PartitionOffsets(10, 15)
    await telemetry.role.assigned([0])
    await telemetry.role.process(gap(10, 15))
    await telemetry.close(silent=False)
    assert telemetry.sent(PROGRESS)[-1]["removed_unread"] == 0
    assert not telemetry.sent(AUDIT)


async def test_a_log_that_ends_before_what_was_read_is_not_taken_for_retention(telemetry):
    await telemetry.role.process(Batch(TOPIC, 0, [measured(i, BASE_MS) for i in range(5)]))
    with pytest.raises(Unsafe, match="ends before what was read"):
        await telemetry.role.process(gap(5, 0))
