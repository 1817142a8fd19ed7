"""The telemetry role: what it publishes, in which order, and that no offset settles before Kafka has confirmed."""

from __future__ import annotations

import asyncio

from schemas.progress import DeviceProgress, PartitionProgress
from schemas.topics import LATE_READINGS, PROGRESS, QUARANTINE, WINDOWS
from streams.runtime.batches import Batch
from tests.conditions import until
from tests.doubles.telemetry_role import (
    TOPIC,
    TelemetryHarness,
)
from tests.property.kernel_logs import BASE_MS, measured


async def test_a_silent_partition_closes_its_windows_and_settles_its_position(telemetry):
    await telemetry.role.process(Batch(TOPIC, 0, [measured(i, BASE_MS + i * 1000) for i in range(3)]))
    await telemetry.close()
    (window,) = telemetry.sent(WINDOWS)
    assert window["count"] == 3
    assert telemetry.role.settled() == {0: 3}


async def test_nothing_settles_before_windows_refusals_and_progress_are_confirmed(telemetry):
    gates = {topic.name: asyncio.Event() for topic in (WINDOWS, QUARANTINE, PROGRESS)}
    telemetry.producer.gates = gates
    await telemetry.role.process(Batch(TOPIC, 0, [measured(0, BASE_MS), measured(1, BASE_MS, "d2")]))
    await telemetry.close()
    for topic in (WINDOWS, QUARANTINE, PROGRESS):
        assert telemetry.role.settled() == {}
        gates[topic.name].set()
        await telemetry.settle()
    assert telemetry.role.settled() == {0: 2}


async def test_a_broker_that_is_away_delays_and_loses_nothing(telemetry):
    telemetry.producer.away = 3
    await telemetry.role.process(Batch(TOPIC, 0, [measured(0, BASE_MS, "d2")]))
    await telemetry.close()
    await until(lambda: telemetry.role.settled() == {0: 1})
    assert [record["reason"] for record in telemetry.sent(QUARANTINE)] == ["unpaired"]


async def test_a_partition_that_moves_away_leaves_no_open_readings_on_the_dashboard(telemetry):
    await telemetry.role.process(Batch(TOPIC, 0, [measured(i, BASE_MS + i * 1000) for i in range(3)]))
    await telemetry.close(silent=False)
    assert telemetry.seen("open_readings", partition="0") == 3
    await telemetry.role.revoked([0])
    assert telemetry.seen("open_readings", partition="0") == 0
    assert telemetry.seen("watermark_age_seconds", partition="0") == 0


async def test_without_current_pairings_no_reading_is_taken(telemetry):
    telemetry.reference.current = False
    taking = asyncio.create_task(telemetry.role.process(Batch(TOPIC, 0, [measured(0, BASE_MS)])))
    await telemetry.settle()
    assert not taking.done()
    telemetry.reference.current = True
    await asyncio.wait_for(taking, 10)
    await telemetry.close()
    assert len(telemetry.sent(WINDOWS)) == 1


async def test_the_next_owner_does_not_close_again_what_is_out(telemetry):
    log = [measured(i, BASE_MS + i * 1000) for i in range(15)]
    await telemetry.role.process(Batch(TOPIC, 0, log))
    await telemetry.close(silent=False)
    assert len(telemetry.sent(WINDOWS)) == 1
    committed = telemetry.role.settled()[0]
    records = [r for r in telemetry.producer.sent if r.topic == PROGRESS]
    successor = TelemetryHarness()
    successor.kept.devices = [DeviceProgress.model_validate_json(r.value) for r in records if r.key != b"#partition"]
    successor.kept.partition = PartitionProgress.model_validate_json(records[-1].value)
    await successor.role.assigned([0])
    await successor.role.process(Batch(TOPIC, 0, log[committed:]))
    await successor.close()
    ids = [w["window_id"] for w in (*telemetry.sent(WINDOWS), *successor.sent(WINDOWS))]
    assert len(ids) == len(set(ids)) == 2
    assert not successor.sent(LATE_READINGS)


async def test_a_partition_that_is_revoked_settles_no_more_and_its_batches_are_ignored(telemetry):
    await telemetry.role.process(Batch(TOPIC, 0, [measured(0, BASE_MS)]))
    await telemetry.role.revoked([0])
    await telemetry.role.process(Batch(TOPIC, 0, [measured(1, BASE_MS)]))
    await telemetry.close()
    assert telemetry.role.settled() == {}
    assert not telemetry.sent(WINDOWS)


async def test_a_pairing_corrected_while_a_window_is_open_charts_nothing_for_the_wrong_patient(telemetry):
    await telemetry.role.process(Batch(TOPIC, 0, [measured(i, BASE_MS + i * 1000) for i in range(6)]))
    telemetry.reference.correct("d0", ("p7", 0, 4))
    await telemetry.close()
    assert [(w["patient_id"], w["count"]) for w in telemetry.sent(WINDOWS)] == [("p7", 4)]
    left = telemetry.sent(QUARANTINE)
    assert sorted((a["reason"], a["source"]["offset"]) for a in left) == [("unpaired", 4), ("unpaired", 5)]
    assert telemetry.seen("readings_total", outcome="quarantined", reason="unpaired") == 2
    assert telemetry.role.settled() == {0: 6}


async def test_without_current_pairings_no_window_is_closed(telemetry):
    await telemetry.role.process(Batch(TOPIC, 0, [measured(0, BASE_MS)]))
    telemetry.reference.current = False
    await telemetry.close()
    assert not telemetry.sent(WINDOWS)
    assert telemetry.role.settled() == {}
    telemetry.reference.current = True
    await telemetry.close()
    assert len(telemetry.sent(WINDOWS)) == 1
