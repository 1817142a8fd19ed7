"""Where the telemetry role sends what no window takes: quarantine, late readings, dead letters."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import orjson

from schemas.ports.kafka import Outgoing
from schemas.topics import DLQ_TELEMETRY, LATE_READINGS, QUARANTINE, WINDOWS
from streams.runtime.batches import Batch, Record
from tests.doubles.telemetry_role import (
    LONG_AFTER_MS,
    TOPIC,
)
from tests.property.kernel_logs import BASE_MS, measured


async def test_a_quarantined_reading_is_kept_as_sent_with_its_place_in_the_log(telemetry):
    bad = measured(7, BASE_MS, value=999)
    await telemetry.role.process(Batch(TOPIC, 0, [bad]))
    await telemetry.settle()
    (record,) = telemetry.sent(QUARANTINE)
    assert record["reason"] == "out_of_range"
    assert record["reading"] == orjson.loads(bad.value)
    assert record["source"] == {"topic": TOPIC, "partition": 0, "offset": 7, "index": 0}


async def test_bytes_that_are_no_reading_also_become_a_dead_letter_as_they_were(telemetry):
    record = Record(5, BASE_MS, b"mon-1", b"\xff not json", (("trace", b"1"),))
    await telemetry.role.process(Batch(TOPIC, 0, [measured(4, BASE_MS), record]))
    await telemetry.settle()
    (letter,) = [r for r in telemetry.producer.sent if r.topic == DLQ_TELEMETRY]
    assert (letter.key, letter.value) == (b"mon-1", b"\xff not json")
    assert dict(letter.headers)["trace"] == b"1"
    assert dict(letter.headers)["__streams.errors.offset"] == b"5"
    assert telemetry.seen("dead_letters_total", stage="telemetry", code="malformed") == 1


async def test_a_late_reading_goes_to_its_own_topic(telemetry):
    await telemetry.role.process(Batch(TOPIC, 0, [measured(0, BASE_MS)]))
    await telemetry.close()
    late = measured(1, BASE_MS)._replace(timestamp_ms=LONG_AFTER_MS)
    await telemetry.role.process(Batch(TOPIC, 0, [late]))
    await telemetry.settle()
    assert [record["reason"] for record in telemetry.sent(LATE_READINGS)] == ["late"]


async def test_readings_quarantined_by_an_earlier_owner_are_not_quarantined_again_and_a_window_lists_those_it_supersedes(
    telemetry,
):
    telemetry.kept.quarantined = [(0, 0), (1, 0)]
    await telemetry.role.process(
        Batch(TOPIC, 0, [measured(0, BASE_MS, "d2"), measured(1, BASE_MS), measured(2, BASE_MS + 1000)])
    )
    await telemetry.close()
    assert not telemetry.sent(QUARANTINE)
    (window,) = telemetry.sent(WINDOWS)
    assert window["count"] == 2
    assert window["supersedes"] == [{"offset": 1, "index": 0}]


async def test_very_many_quarantined_readings_are_sent_in_parts_and_others_have_their_turn_in_between(telemetry):
    turns, sizes, send = [0], [], telemetry.producer.send

    async def noting(records: Sequence[Outgoing]) -> None:
        sizes.append((len(records), turns[0]))
        await send(records)

    async def others() -> None:
        while True:
            turns[0] += 1
            await asyncio.sleep(0)

    telemetry.producer.send = noting
    other = asyncio.create_task(others())
    frame = b'{"tenant_id":"north","device_id":"d0","readings":[' + b",".join([b"1"] * 10_000) + b"]}"
    await telemetry.role.process(Batch(TOPIC, 0, [Record(at, BASE_MS, b"d", frame, ()) for at in range(2)]))
    await telemetry.close()
    other.cancel()
    parts = [(size, turn) for size, turn in sizes if size > 10]
    assert max(size for size, _ in parts) <= 1_000
    turn_of = [turn for _, turn in parts]
    assert max(turn_of.count(turn) for turn in turn_of) <= 2  # one of each record that is on its way
    assert len(telemetry.sent(QUARANTINE)) == 20_000
    assert telemetry.seen("readings_total", outcome="quarantined", reason="malformed") == 20_000
    assert telemetry.role.settled() == {0: 2}
