"""The telemetry role: what it sends, in which order, and that nothing settles before Kafka has confirmed it."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Sequence
from datetime import UTC, datetime

import orjson
import pytest

from adapters.metrics import PrometheusObserver
from schemas.errors import Unsafe
from schemas.ports.kafka import Kept, Outgoing
from schemas.progress import DeviceProgress, PartitionProgress
from schemas.topics import AUDIT, DLQ_TELEMETRY, LATE_READINGS, PROGRESS, QUARANTINE, WINDOWS
from streams.runtime.batches import Batch, Record, Removed
from streams.telemetry.role import TelemetryPorts, TelemetryRole
from tests.conditions import wait_until
from tests.doubles.ports import KeptFromTheStart, MemoryProducer, retention
from tests.property.kernel_logs import BASE_MS, KEY, TABLE, measured, paired, pairings

TOPIC = "telemetry.readings"
LONG_AFTER_MS = BASE_MS + 3_600_000


class WardPairings:
    """Pairings as the ward keeps them; `current` is what a test says."""

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


class Left:
    """Progress as an earlier owner left it."""

    def __init__(self) -> None:
        self.devices: list[DeviceProgress] = []
        self.partition: PartitionProgress | None = None
        self.set_aside: list[tuple[int, int]] = []

    async def load(self, _partition: int):
        return self.devices, self.partition

    async def load_set_aside(self, _partition: int, first_offset: int, _since_ms: int) -> array[int]:
        return array("q", [number for place in self.set_aside if place[0] >= first_offset for number in place])


class Ward:
    """A role with its doubles; silent partitions as the test says."""

    def __init__(self) -> None:
        self.producer, self.reference, self.kept = GatedProducer(), WardPairings(), Left()
        self.offsets = KeptFromTheStart()
        self.observer = PrometheusObserver()
        ports = TelemetryPorts(
            self.producer,
            self.reference,
            self.kept.load,
            self.kept.load_set_aside,
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


def gap(first: int | None, end: int) -> Batch:
    return Batch(TOPIC, 0, [], next_offset=end, removed=Removed(first, end))


@pytest.fixture
async def ward() -> Ward:
    made = Ward()
    await made.role.assigned([0])
    return made


async def test_a_silent_partition_closes_its_windows_and_settles_its_position(ward):
    await ward.role.take(Batch(TOPIC, 0, [measured(i, BASE_MS + i * 1000) for i in range(3)]))
    await ward.close()
    (window,) = ward.sent(WINDOWS)
    assert window["count"] == 3
    assert ward.role.settled() == {0: 3}


async def test_nothing_settles_before_windows_refusals_and_progress_are_confirmed(ward):
    gates = {topic.name: asyncio.Event() for topic in (WINDOWS, QUARANTINE, PROGRESS)}
    ward.producer.gates = gates
    await ward.role.take(Batch(TOPIC, 0, [measured(0, BASE_MS), measured(1, BASE_MS, "d2")]))
    await ward.close()
    for topic in (WINDOWS, QUARANTINE, PROGRESS):
        assert ward.role.settled() == {}
        gates[topic.name].set()
        await ward.settle()
    assert ward.role.settled() == {0: 2}


async def test_a_broker_that_is_away_delays_and_loses_nothing(ward):
    ward.producer.away = 3
    await ward.role.take(Batch(TOPIC, 0, [measured(0, BASE_MS, "d2")]))
    await ward.close()
    await asyncio.to_thread(wait_until, lambda: ward.role.settled() == {0: 1})
    assert [aside["reason"] for aside in ward.sent(QUARANTINE)] == ["unpaired"]


async def test_a_refused_reading_is_kept_as_sent_with_its_place_in_the_log(ward):
    bad = measured(7, BASE_MS, value=999)
    await ward.role.take(Batch(TOPIC, 0, [bad]))
    await ward.settle()
    (aside,) = ward.sent(QUARANTINE)
    assert aside["reason"] == "out_of_range"
    assert aside["reading"] == orjson.loads(bad.value)
    assert aside["source"] == {"topic": TOPIC, "partition": 0, "offset": 7, "index": 0}


async def test_bytes_that_are_no_reading_also_become_a_dead_letter_as_they_were(ward):
    record = Record(5, BASE_MS, b"mon-1", b"\xff not json", (("trace", b"1"),))
    await ward.role.take(Batch(TOPIC, 0, [measured(4, BASE_MS), record]))
    await ward.settle()
    (letter,) = [r for r in ward.producer.sent if r.topic == DLQ_TELEMETRY]
    assert (letter.key, letter.value) == (b"mon-1", b"\xff not json")
    assert dict(letter.headers)["trace"] == b"1"
    assert dict(letter.headers)["__streams.errors.offset"] == b"5"
    assert ward.seen("dead_letters_total", stage="telemetry", code="malformed") == 1


async def test_a_partition_that_moves_away_leaves_no_open_readings_on_the_dashboard(ward):
    await ward.role.take(Batch(TOPIC, 0, [measured(i, BASE_MS + i * 1000) for i in range(3)]))
    await ward.close(silent=False)
    assert ward.seen("open_readings", partition="0") == 3
    await ward.role.revoked([0])
    assert ward.seen("open_readings", partition="0") == 0
    assert ward.seen("watermark_age_seconds", partition="0") == 0


async def test_a_late_reading_goes_to_its_own_topic(ward):
    await ward.role.take(Batch(TOPIC, 0, [measured(0, BASE_MS)]))
    await ward.close()
    late = measured(1, BASE_MS)._replace(timestamp_ms=LONG_AFTER_MS)
    await ward.role.take(Batch(TOPIC, 0, [late]))
    await ward.settle()
    assert [aside["reason"] for aside in ward.sent(LATE_READINGS)] == ["late"]


async def test_without_current_pairings_no_reading_is_taken(ward):
    ward.reference.current = False
    taking = asyncio.create_task(ward.role.take(Batch(TOPIC, 0, [measured(0, BASE_MS)])))
    await ward.settle()
    assert not taking.done()
    ward.reference.current = True
    await asyncio.wait_for(taking, 10)
    await ward.close()
    assert len(ward.sent(WINDOWS)) == 1


async def test_the_next_owner_does_not_close_again_what_is_out(ward):
    log = [measured(i, BASE_MS + i * 1000) for i in range(15)]
    await ward.role.take(Batch(TOPIC, 0, log))
    await ward.close(silent=False)
    assert len(ward.sent(WINDOWS)) == 1
    committed = ward.role.settled()[0]
    records = [r for r in ward.producer.sent if r.topic == PROGRESS]
    successor = Ward()
    successor.kept.devices = [DeviceProgress.model_validate_json(r.value) for r in records if r.key != b"#partition"]
    successor.kept.partition = PartitionProgress.model_validate_json(records[-1].value)
    await successor.role.assigned([0])
    await successor.role.take(Batch(TOPIC, 0, log[committed:]))
    await successor.close()
    ids = [w["window_id"] for w in (*ward.sent(WINDOWS), *successor.sent(WINDOWS))]
    assert len(ids) == len(set(ids)) == 2
    assert not successor.sent(LATE_READINGS)


async def test_a_partition_that_is_revoked_settles_no_more_and_its_batches_are_ignored(ward):
    await ward.role.take(Batch(TOPIC, 0, [measured(0, BASE_MS)]))
    await ward.role.revoked([0])
    await ward.role.take(Batch(TOPIC, 0, [measured(1, BASE_MS)]))
    await ward.close()
    assert ward.role.settled() == {}
    assert not ward.sent(WINDOWS)


async def test_what_an_earlier_owner_set_aside_is_not_set_aside_again_and_a_window_names_what_it_takes(ward):
    ward.kept.set_aside = [(0, 0), (1, 0)]
    await ward.role.take(
        Batch(TOPIC, 0, [measured(0, BASE_MS, "d2"), measured(1, BASE_MS), measured(2, BASE_MS + 1000)])
    )
    await ward.close()
    assert not ward.sent(QUARANTINE)
    (window,) = ward.sent(WINDOWS)
    assert window["count"] == 2
    assert window["supersedes"] == [{"offset": 1, "index": 0}]


async def test_a_pairing_corrected_while_a_window_is_open_charts_nothing_for_the_wrong_patient(ward):
    await ward.role.take(Batch(TOPIC, 0, [measured(i, BASE_MS + i * 1000) for i in range(6)]))
    ward.reference.correct("d0", ("p7", 0, 4))
    await ward.close()
    assert [(w["patient_id"], w["count"]) for w in ward.sent(WINDOWS)] == [("p7", 4)]
    left = ward.sent(QUARANTINE)
    assert sorted((a["reason"], a["source"]["offset"]) for a in left) == [("unpaired", 4), ("unpaired", 5)]
    assert ward.seen("readings_total", outcome="quarantined", reason="unpaired") == 2
    assert ward.role.settled() == {0: 6}


async def test_without_current_pairings_no_window_is_closed(ward):
    await ward.role.take(Batch(TOPIC, 0, [measured(0, BASE_MS)]))
    ward.reference.current = False
    await ward.close()
    assert not ward.sent(WINDOWS)
    assert ward.role.settled() == {}
    ward.reference.current = True
    await ward.close()
    assert len(ward.sent(WINDOWS)) == 1


async def test_what_retention_removed_before_a_running_worker_is_counted_audited_and_kept_with_its_place(ward):
    await ward.role.take(Batch(TOPIC, 0, [measured(0, BASE_MS), measured(1, BASE_MS + 1000)]))
    ward.offsets.kept = Kept(None, 9)
    await ward.role.take(gap(2, 7))
    await ward.close(silent=False)
    assert ward.sent(PROGRESS)[-1] | {"removed_unread": 5, "counted_gaps": [[2, 7]]} == ward.sent(PROGRESS)[-1]
    assert ward.role.settled() == {0: 0}, "an open window still needs what was before"
    assert ward.seen("readings_removed_unread_total", partition="0") == 5
    assert [(e["action"], e["source"]) for e in ward.sent(AUDIT)] == [("readings.removed_unread", f"{TOPIC}/0/2-6")]
    await ward.close()
    assert (ward.role.settled(), ward.sent(PROGRESS)[-1]["counted_gaps"]) == ({0: 7}, [])


async def test_what_a_dead_workers_open_windows_needed_and_is_gone_counts_with_it_and_nothing_counts_twice(ward):
    ward.kept.partition = PartitionProgress(
        partition=0, position=30, settled=10, open_readings=4, arrival_ms=BASE_MS, removed_unread=5, counted_gaps=((20, 25),)
    )  # fmt: skip
    ward.offsets.kept = Kept(10, 40)
    await ward.role.assigned([0])
    await ward.close(silent=False)
    (told,) = ward.sent(PROGRESS)
    assert (told["position"], told["settled"], told["removed_unread"]) == (40, 40, 5 + 25)
    assert ward.role.settled() == {0: 40}


async def test_removed_readings_are_audited_before_their_count_is_kept(ward):
    ward.producer.gates = {AUDIT.name: asyncio.Event()}
    taking = asyncio.create_task(ward.role.take(gap(None, 3)))
    ward.offsets.kept = Kept(None, 3)
    await ward.settle()
    assert ward.sent(AUDIT)
    assert not taking.done()
    await ward.close(silent=False)
    assert ward.role.settled() == {}
    ward.producer.gates[AUDIT.name].set()
    await asyncio.wait_for(taking, 10)
    await ward.close(silent=False)
    assert ward.role.settled() == {0: 3}


async def test_what_was_settled_and_not_yet_committed_when_retention_took_it_is_no_loss_and_ends_nothing(ward):
    ward.kept.partition = PartitionProgress(partition=0, position=20, settled=20, open_readings=0, arrival_ms=BASE_MS)
    ward.offsets.kept = Kept(10, 15)
    await ward.role.assigned([0])
    await ward.role.take(gap(10, 15))
    await ward.close(silent=False)
    assert ward.sent(PROGRESS)[-1]["removed_unread"] == 0
    assert not ward.sent(AUDIT)


async def test_a_log_that_ends_before_what_was_read_is_not_taken_for_retention(ward):
    await ward.role.take(Batch(TOPIC, 0, [measured(i, BASE_MS) for i in range(5)]))
    with pytest.raises(Unsafe, match="ends before what was read"):
        await ward.role.take(gap(5, 0))


async def test_very_many_refusals_are_sent_in_parts_and_others_have_their_turn_in_between(ward):
    turns, sizes, send = [0], [], ward.producer.send

    async def noting(records: Sequence[Outgoing]) -> None:
        sizes.append((len(records), turns[0]))
        await send(records)

    async def others() -> None:
        while True:
            turns[0] += 1
            await asyncio.sleep(0)

    ward.producer.send = noting
    other = asyncio.create_task(others())
    frame = b'{"tenant_id":"north","device_id":"d0","readings":[' + b",".join([b"1"] * 10_000) + b"]}"
    await ward.role.take(Batch(TOPIC, 0, [Record(at, BASE_MS, b"d", frame, ()) for at in range(2)]))
    await ward.close()
    other.cancel()
    parts = [(size, turn) for size, turn in sizes if size > 10]
    assert max(size for size, _ in parts) <= 1_000
    turn_of = [turn for _, turn in parts]
    assert max(turn_of.count(turn) for turn in turn_of) <= 2  # one of each record that is on its way
    assert len(ward.sent(QUARANTINE)) == 20_000
    assert ward.seen("readings_total", outcome="quarantined", reason="malformed") == 20_000
    assert ward.role.settled() == {0: 2}
