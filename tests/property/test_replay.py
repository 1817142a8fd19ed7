"""Readings that are read again after pairings changed: each has one outcome, and the later outcome names the earlier."""

from __future__ import annotations

from array import array

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.config import Config
from schemas.reference import Pairing
from streams.runtime.batches import Record
from streams.telemetry.kernel.replay import CoordinateSet
from streams.telemetry.kernel.vital_table import VitalTable
from tests.property.kernel_logs import BASE_MS, TABLE, Run, logs, measured, new_run, pairings, run
from tests.property.kernel_logs import paired as paired_during

Coordinates = tuple[int, int]


def paired(**patients: str) -> dict[tuple[str, str], Pairing]:
    """These devices with one patient each, since long ago."""
    since = "2026-01-01T00:00:00Z"
    return {
        ("north", device): Pairing.model_validate(
            {"tenant_id": "north", "device_id": device, "intervals": [{"patient_id": patient, "from": since}]}
        )
        for device, patient in patients.items()
    }


FOR_A_WHILE = {
    ("north", "d0"): paired_during("d0", ("p0", 0, 10)),
    ("north", "d1"): paired_during("d1", ("p1", 0, 20)),
    ("north", "d3"): paired_during("d3", ("p3", 12, None)),
}
PAIRINGS = [pairings(), {}, paired(d0="p0", d2="p2"), paired(d0="p5", d1="p1", d2="p2", d3="p3"), FOR_A_WHILE]


def quarantined_by(*runs: Run) -> set[Coordinates]:
    """What is on the quarantine and late topics."""
    late = {coordinates for r in runs for coordinates in r.late}
    return late | {(offset, index) for r in runs for offset, index, _ in (*r.quarantined, *r.quarantined_rows)}


def successor(
    before: list[Run],
    log: list[Record],
    paired_with: dict[tuple[str, str], Pairing],
    table: VitalTable = TABLE,
    *,
    finish: bool = True,
    uncommitted: int = 0,
) -> Run:
    """The next run: it reads what those before left on Kafka, where the commit is so many records older than settled."""
    last = before[-1]
    run_ = new_run(table)
    run_.devices, run_.partition = dict(last.devices), last.partition
    run_.kernel.restore(last.devices.values(), last.partition)
    committed = max(0, last.partition.settled - uncommitted) if last.partition else 0
    known = sorted(coordinates for coordinates in quarantined_by(*before) if coordinates[0] >= committed)
    run_.kernel.restore_quarantined(array("q", [number for coordinates in known for number in coordinates]))
    if log[committed:]:
        run_.add(run_.kernel.ingest(log[committed:], paired_with, 1))
    if finish:
        run_.close(log[-1].timestamp_ms + 10_000_000)
    else:
        run_.close(all_due=False)
    return run_


@given(
    logs(),
    st.lists(st.tuples(st.integers(0, 60), st.sampled_from(PAIRINGS), st.integers(0, 40)), min_size=1, max_size=3),
    st.integers(0, 40),
)
@settings(deadline=None, max_examples=150)
def test_every_reading_has_one_outcome_whatever_pairings_and_commit_each_run_knew(log, history, uncommitted_last):
    runs: list[Run] = []
    for crash, known, uncommitted in history:
        end = crash % len(log) + 1
        if not runs:
            first = new_run()
            first.add(first.kernel.ingest(log[:end], known, 1))
            first.close(all_due=False)
            runs.append(first)
        else:
            runs.append(successor(runs, log[:end], known, finish=False, uncommitted=uncommitted))
    runs.append(successor(runs, log, PAIRINGS[0], uncommitted=uncommitted_last))
    assert_one_outcome_each(log, runs)


def assert_one_outcome_each(log: list[Record], runs: list[Run]) -> None:
    ids = [window_id for r in runs for window_id in r.windows]
    assert len(ids) == len(set(ids)), "a window that is out was closed again"
    windows = [orjson.loads(value) for r in runs for value in r.windows.values()]
    counted = sum(w["count"] + w["duplicates"] for w in windows)
    named = [(coordinates["offset"], coordinates["index"]) for w in windows for coordinates in w.get("supersedes", [])]
    assert len(named) == len(set(named))
    assert set(named) <= quarantined_by(*runs)
    assert counted + len(quarantined_by(*runs) - set(named)) == len(log)
    quarantined = [coordinates for r in runs for coordinates in (*r.late, *((o, i) for o, i, _ in r.quarantined))]
    assert len(quarantined) == len(set(quarantined)), "a reading was quarantined twice"


@pytest.mark.parametrize("last_pairings", PAIRINGS)
@pytest.mark.parametrize("read_by_the_second", range(1, 41))
def test_a_run_that_ends_before_it_read_what_an_earlier_run_judged_loses_no_window(read_by_the_second, last_pairings):
    """The first run knew the device's patient for ten seconds only; what the second then closes must be known to the third."""
    log = [measured(i, BASE_MS + i * 1000) for i in range(40)]
    first = new_run()
    first.add(first.kernel.ingest(log, FOR_A_WHILE, 1))
    first.close(all_due=False)

    second = successor([first], log[:read_by_the_second], pairings(), finish=False, uncommitted=40)
    third = successor([first, second], log, last_pairings, uncommitted=40)

    assert_one_outcome_each(log, [first, second, third])


def test_readings_whose_pairing_came_later_are_named_by_the_window_that_counts_them():
    log = [measured(i, BASE_MS + i * 1000) for i in range(4)]
    first = new_run()
    first.add(first.kernel.ingest(log[:3], {}, 1))
    first.add(first.kernel.ingest(log[3:], pairings(), 2))
    first.close(all_due=False)
    assert [coordinates[:2] for coordinates in first.quarantined] == [(0, 0), (1, 0), (2, 0)]
    first.partition = first.partition.model_copy(update={"settled": 0})  # an earlier commit is what Kafka knows

    second = successor([first], log, pairings())

    (window,) = map(orjson.loads, second.windows.values())
    assert window["count"] == 4
    assert window["supersedes"] == [{"offset": n, "index": 0} for n in range(3)]
    assert not second.quarantined


def test_a_reading_of_an_open_window_that_the_next_run_refuses_is_reported():
    log = [measured(i, BASE_MS + i * 1000) for i in range(3)]
    first = new_run()
    first.add(first.kernel.ingest(log, pairings(), 1))
    first.close(all_due=False)

    second = successor([first], log, {})

    assert second.quarantined == [(n, 0, "unpaired") for n in range(3)]


def test_a_replay_in_which_nothing_changed_names_nothing_new_and_gives_the_same_bytes():
    log = [measured(i, BASE_MS + i * 1000, device="d2" if i == 1 else "d0") for i in range(4)]
    first = run(log, finish=False)
    first.close(all_due=False)

    second = successor([first], log, pairings())

    assert second.windows == run(log).windows
    assert not second.quarantined


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 2**31 - 1) | st.integers(0, 3))), st.data())
def test_coordinates_are_found_as_a_set_finds_them(known_coordinates, data):
    known = CoordinateSet(array("q", [number for coordinates in known_coordinates for number in coordinates]))
    asked = data.draw(st.lists(st.sampled_from(known_coordinates))) if known_coordinates else []
    asked += data.draw(st.lists(st.tuples(st.integers(0, 55), st.integers(0, 4))))
    offsets, indices = (np.array([coordinates[n] for coordinates in asked], np.int64) for n in range(2))
    assert known.contains(offsets, indices).tolist() == [coordinates in set(known_coordinates) for coordinates in asked]
    assert known.end == max((offset + 1 for offset, _ in known_coordinates), default=0)


def placed(offset: int, second: float, vital: str = "heart_rate", device: str = "d0") -> Record:
    return measured(offset, BASE_MS + round(second * 1000), device=device, vital=vital)


def standing(runs: list[Run]) -> int:
    """Readings in windows or quarantined, each once."""
    windows = [orjson.loads(value) for r in runs for value in r.windows.values()]
    named = {(coordinates["offset"], coordinates["index"]) for w in windows for coordinates in w.get("supersedes", [])}
    return sum(w["count"] + w["duplicates"] for w in windows) + len(quarantined_by(*runs) - named)


def test_an_open_reading_that_a_corrected_pairing_makes_late_is_reported():
    """An earlier reading of its window counts now, so that its device was silent before it for the idle time."""
    beside = [placed(offset, second, device="d3") for offset, second in ((1, 0.5), (3, 15), (4, 30), (5, 44))]
    log = sorted([placed(0, -10), placed(2, 1), placed(6, 45), *beside])
    spans = [("2026-01-01T00:00:00Z", "2026-01-05T10:00:00Z"), ("2026-01-05T10:00:30Z", None)]
    intervals = [{"patient_id": "p0", "from": begin, "until": end} for begin, end in spans]
    known = Pairing.model_validate({"tenant_id": "north", "device_id": "d0", "intervals": intervals})
    table = VitalTable(Config())
    first = new_run(table)
    first.add(first.kernel.ingest(log, pairings() | {("north", "d0"): known}, 1))
    first.close(all_due=False)

    second = successor([first], log, pairings(), table)

    assert standing([first, second]) == len(log)
    assert second.late == [(6, 0)]


def test_readings_of_an_open_window_that_a_shorter_grace_closes_are_reported_as_late():
    log = [placed(2 * s + at, s, vital) for s in range(65) for at, vital in enumerate(["spo2", "heart_rate"])]
    first, second = (
        VitalTable(
            Config.model_validate({"vitals": {v: {"window": "60s", "grace": g, "idle": "90s"} for v, g in graces}})
        )
        for graces in ((("spo2", "30s"), ("heart_rate", "1s")), (("spo2", "1s"), ("heart_rate", "1s")))
    )
    before = new_run(first)
    before.add(before.kernel.ingest(log, pairings(), 1))
    before.close(all_due=False)

    after = successor([before], log, pairings(), second)

    assert standing([before, after]) == len(log)
    assert {offset for offset, _ in after.late} == {2 * s for s in range(60)}
