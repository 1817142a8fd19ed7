"""The three properties of the window kernel, and that nothing is ever lost or counted twice."""

from __future__ import annotations

import itertools
import random

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.reference import Pairing
from streams.runtime.batches import Record
from streams.telemetry.kernel import window_emitter
from streams.telemetry.kernel.partition import PartitionKernel
from tests.property.kernel_logs import BASE_MS, KEY, TABLE, UNITS, logs, measured, new_run, pairings, run


@pytest.fixture(autouse=True, scope="module")
def small_passes():
    """A pass closes two streams at most, so that crashes also come between the passes of one moment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window_emitter, "MAX_SERIES_PER_PASS", 2)
        yield


CUTS = st.lists(st.integers(0, 80), max_size=8)
CLOSES = st.lists(st.booleans(), max_size=10)


@given(logs(), CUTS, CLOSES)
@settings(deadline=None, max_examples=60)
def test_any_split_into_batches_and_any_closing_passes_give_the_same_windows(log, cuts, closes):
    whole, split = run(log), run(log, cuts, closes)
    assert split.windows == whole.windows
    assert sorted(split.late) == sorted(whole.late)
    assert sorted(split.quarantined) == sorted(whole.quarantined)
    assert sorted(split.quarantined_rows) == sorted(whole.quarantined_rows)


@given(logs(), CUTS, CLOSES)
@settings(deadline=None, max_examples=60)
def test_every_reading_is_in_one_window_or_repeated_or_late_or_refused(log, cuts, closes):
    result = run(log, cuts, closes)
    windows = [orjson.loads(value) for value in result.windows.values()]
    counted = sum(w["count"] + w["duplicates"] for w in windows)
    assert counted + len(result.late) + len(result.quarantined) + len(result.quarantined_rows) == len(log)
    assert result.kernel.store.open_rows == 0
    assert result.kernel.settled() == len(log)


@given(logs(), CUTS, CLOSES, st.integers(0, 80), st.booleans())
@settings(deadline=None, max_examples=120)
def test_replay_from_the_committed_offset_after_a_crash_gives_the_same_bytes(log, cuts, closes, crash, pass_before):
    """What was confirmed after the last progress was written comes twice, with the same bytes and coordinates."""
    whole = run(log)
    crash = crash % len(log) + 1
    first = run(log[:crash], cuts, closes, finish=False)
    if pass_before:
        first.close(all_due=False)
    committed = first.partition.settled if first.partition else 0
    second = new_run()
    second.kernel.restore(first.devices.values(), first.partition)
    if committed < len(log):
        second.add(second.kernel.ingest(log[committed:], pairings(), 1))
    second.close(max(record.timestamp_ms for record in log) + 10_000_000)
    assert not set(first.windows) & set(second.windows), "a window that is out was closed again"
    assert first.windows | second.windows == whole.windows
    assert set(first.late) | set(second.late) == set(whole.late)
    assert set(first.quarantined) | set(second.quarantined) == set(whole.quarantined)
    assert sorted(first.quarantined_rows + second.quarantined_rows) == sorted(whole.quarantined_rows)


@given(st.integers(0, 2**32 - 1), st.integers(2, 200))
@settings(deadline=None, max_examples=50)
def test_any_order_within_the_grace_gives_the_same_windows(seed, size):
    rng = random.Random(seed)
    readings = []
    for i in range(size):
        vital = rng.choice(sorted(UNITS))
        reading = {
            "tenant_id": "north",
            "device_id": rng.choice(["d0", "d1", "d3"]),
            "type": vital,
            "unit": UNITS[vital],
        }
        readings.append(reading | {"value": rng.choice([61, 62.25, 63]), "time": BASE_MS + i * 250})

    def windows(order):
        log = [Record(i, BASE_MS + i * 250, b"d", orjson.dumps(readings[at]), ()) for i, at in enumerate(order)]
        found = run(log)
        assert not found.late
        assert not found.quarantined
        return {k: (w := orjson.loads(v))["content_hash"] + str(w["publish"]) for k, v in found.windows.items()}

    in_order = list(range(size))
    shuffled = sorted(in_order, key=lambda i: i + rng.uniform(0, 3))  # at most 0.75 s out of order, grace is 1 s
    assert windows(shuffled) == windows(in_order)


@given(logs(most=40), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=50)
def test_an_exact_repeat_inside_the_grace_changes_nothing_but_the_count_of_repeats(log, seed):
    doubled = []
    for record in log:
        doubled += [record, record]
    doubled = [r._replace(offset=i) for i, r in enumerate(doubled)]
    once, twice = run(log), run(doubled)
    content = {k: orjson.loads(v)["content_hash"] for k, v in once.windows.items()}
    assert {k: orjson.loads(v)["content_hash"] for k, v in twice.windows.items()} == content


def test_a_window_closes_by_arrival_time_when_its_device_falls_silent():
    r = run([measured(0, BASE_MS)], finish=False)
    r.close(BASE_MS + 14_999)
    assert not r.windows
    assert r.kernel.settled() == 0
    r.close(BASE_MS + 15_000)
    assert len(r.windows) == 1
    assert r.kernel.settled() == 1


def test_a_device_moved_from_one_patient_to_another_gives_each_their_own_window():
    log = [measured(i, BASE_MS + i * 1000, "d1", value=60 + i) for i in range(20, 30)]
    by_patient = {(w := orjson.loads(v))["patient_id"]: w for v in run(log).windows.values()}
    assert set(by_patient) == {"p1", "p2"}
    assert by_patient["p2"]["count"] == 3
    assert (by_patient["p2"]["min"], by_patient["p2"]["max"]) == (85, 87)
    assert by_patient["p1"]["count"] == 7


def test_both_halves_of_a_blood_pressure_are_published_together():
    log = [measured(0, BASE_MS, vital="systolic_bp", value=70), measured(1, BASE_MS, vital="diastolic_bp", value=62)]
    windows = {(w := orjson.loads(v))["type"]: w for v in run(log).windows.values()}
    assert windows["systolic_bp"]["companions"] == ["diastolic_bp"]
    assert windows["diastolic_bp"]["companions"] == ["systolic_bp"]
    assert {w["cause"] for w in windows.values()} == {"threshold"}


def test_without_the_key_the_identity_of_a_window_cannot_be_found():
    log = [measured(0, BASE_MS)]
    other = PartitionKernel("telemetry.readings", 0, TABLE, KEY + b"!")
    other.ingest(log, pairings(), 1)
    identity = orjson.loads(other.close(BASE_MS + 10**7).windows[0].value)["window_id"]
    assert identity not in run(log).windows


def test_a_window_says_when_its_first_and_last_counted_readings_were_measured():
    log = [measured(i, BASE_MS + at, value=value) for i, (at, value) in enumerate([(1000, 61), (3500, 62), (7250, 61)])]
    log += [measured(3, BASE_MS + 500, value=61), measured(4, BASE_MS + 500, value=70), measured(5, BASE_MS + 7250)]
    (value,) = run([r._replace(offset=i) for i, r in enumerate(log)]).windows.values()
    window = orjson.loads(value)
    assert (window["count"], window["duplicates"]) == (3, 1)
    assert window["first_time"] == "2026-01-05T10:00:01.000Z", "a contradicted reading is not counted"
    assert window["last_time"] == "2026-01-05T10:00:07.250Z"


def _with_seq(record: Record, seq: int | None) -> Record:
    return record._replace(value=orjson.dumps(orjson.loads(record.value) | {"seq": seq}))


@pytest.mark.parametrize(("seqs", "counted"), [([None, 4], 1), ([4, None], 1), ([4, 5, None], 2), ([None, None], 1)])
def test_a_reading_without_a_sequence_number_repeats_any_other_of_its_instant_and_value(seqs, counted):
    log = [_with_seq(measured(i, BASE_MS), seq) for i, seq in enumerate(seqs)]
    (value,) = run(log).windows.values()
    window = orjson.loads(value)
    assert (window["count"], window["duplicates"]) == (counted, len(seqs) - counted)


def test_intervals_of_one_patient_that_overlap_are_not_ambiguous():
    twice = {"patient_id": "p0", "from": "2026-01-05T09:00:00Z"}
    pairing = Pairing.model_validate({"tenant_id": "north", "device_id": "d0", "intervals": [twice, twice]})
    r = new_run()
    r.add(r.kernel.ingest([measured(0, BASE_MS)], {("north", "d0"): pairing}, 1))
    r.close(BASE_MS + 10**7)
    assert not r.quarantined
    assert [orjson.loads(value)["patient_id"] for value in r.windows.values()] == ["p0"]


def _dated(records: list[Record]) -> list[Record]:
    """With append times as a broker stamps them whose clock never steps back."""
    latest = itertools.accumulate((record.timestamp_ms for record in records), max)
    return [record._replace(timestamp_ms=at) for record, at in zip(records, latest, strict=True)]


@given(logs(), CUTS, CLOSES)
@settings(deadline=None, max_examples=60)
def test_a_broker_clock_that_steps_back_changes_nothing(log, cuts, closes):
    steady, stepping = run(_dated(log)), run(log, cuts, closes)
    assert stepping.windows == steady.windows
    assert sorted(stepping.late) == sorted(steady.late)
    assert sorted(stepping.quarantined) == sorted(steady.quarantined)


def test_a_replay_sees_the_same_arrival_clock_where_the_broker_clock_stepped_back():
    """The second reading counts: the broker's clock was at the first one's, which has settled, when it came."""
    log = [measured(0, BASE_MS + 60_000), measured(1, BASE_MS + 60_000, "d1")._replace(timestamp_ms=BASE_MS)]
    first = run(log[:1], finish=False)
    first.close(BASE_MS + 80_000)
    assert first.partition.settled == 1
    second = new_run()
    second.kernel.restore(first.devices.values(), first.partition)
    second.add(second.kernel.ingest(log[1:], pairings(), 1))
    assert not second.quarantined, "by the broker's own clock it was measured a minute ahead"


def test_a_device_whose_clock_stopped_delays_no_window_for_long():
    """Two devices send each second for ten minutes; the clock of one stands. Longest open: 10 + 3 + 15 + 5 s."""
    r, offset, most_open = new_run(), 0, 0
    for second in range(600):
        at_ms = BASE_MS + second * 1000
        stuck = measured(offset, BASE_MS + 500)._replace(timestamp_ms=at_ms)
        r.add(r.kernel.ingest([stuck, measured(offset + 1, at_ms, "d3")], pairings(), 1))
        r.close()
        offset += 2
        most_open = max(most_open, r.kernel.store.open_rows)
    assert most_open <= 2 * 33
    assert r.kernel.settled() >= offset - 2 * 33
    windows = [orjson.loads(value) for value in r.windows.values()]
    (stood,) = [w for w in windows if w["device_id"] == "d0"]
    assert stood["count"] + stood["duplicates"] == 33
    assert len(r.late) == 600 - 33
    assert sum(w["count"] for w in windows if w["device_id"] == "d3") >= 580


def test_both_members_of_a_blood_pressure_close_together_where_the_clock_stopped():
    """Diastolic began later; with the systolic half it is closed, by a closing pass as by the next reading."""
    stuck = [
        measured(i, BASE_MS, vital=vital, value=61)._replace(timestamp_ms=BASE_MS + i * 12_000)
        for i, vital in enumerate(["systolic_bp", "systolic_bp", "diastolic_bp", "systolic_bp", "diastolic_bp"])
    ]
    passed, whole = run(stuck, cuts=range(1, 5), closes=[True] * 4), run(stuck)
    assert passed.windows == whole.windows
    windows = {(w := orjson.loads(v))["type"]: w for v in whole.windows.values()}
    assert windows["systolic_bp"]["companions"] == ["diastolic_bp"]
    assert [offset for offset, _ in whole.late] == [4]
