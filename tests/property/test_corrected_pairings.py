"""A pairing corrected while windows are open: each reading goes to whom it now belongs to, or to the quarantine."""

from __future__ import annotations

from datetime import datetime

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.instants import epoch_ms
from streams.telemetry.kernel import window_emitter
from tests.property.kernel_logs import BASE_MS, logs, measured, new_run, paired, pairings

FAR_MS = BASE_MS + 10**9
PATIENTS = st.sampled_from(["p0", "p1", "p2"])
SECONDS = st.one_of(st.just(0), st.integers(1, 120))


@st.composite
def corrections(draw: st.DrawFn):
    """Other pairings for some of the devices: another patient, part of the time, two at once, nobody."""
    corrected = dict(pairings())
    for device in draw(st.lists(st.sampled_from(["d0", "d1", "d2", "d3"]), min_size=1, max_size=3, unique=True)):
        spans = draw(st.lists(st.tuples(PATIENTS, SECONDS, st.one_of(st.none(), SECONDS)), max_size=3))
        corrected["north", device] = paired(device, *spans)
    return corrected


def patients_at(known, device: str, at_ms: int) -> set[str]:
    return {
        span.patient_id
        for span in known["north", device].intervals
        if epoch_ms(span.since) <= at_ms and (span.until is None or at_ms < epoch_ms(span.until))
    }


@given(logs(), st.integers(0, 80), corrections(), st.booleans())
@settings(deadline=None, max_examples=150)
def test_windows_that_close_after_a_correction_hold_only_readings_of_whom_it_names(log, cut, corrected, pass_before):
    at = cut % len(log)
    r = new_run()
    r.add(r.kernel.ingest(log[:at], pairings(), 1))
    if pass_before:
        r.close()
    out_before, quarantined_before = set(r.windows), len(r.quarantined_rows)
    r.kernel.learn(corrected, 2)
    r.close()
    r.add(r.kernel.ingest(log[at:], corrected, 2))
    r.close(FAR_MS)
    counted = 0
    for window_id, value in r.windows.items():
        window = orjson.loads(value)
        counted += window["count"] + window["duplicates"]
        if window_id in out_before:
            continue
        for end in ("first_time", "last_time"):
            at_ms = epoch_ms(datetime.fromisoformat(window[end]))
            assert patients_at(corrected, window["device_id"], at_ms) == {window["patient_id"]}
    assert counted + len(r.late) + len(r.quarantined) + len(r.quarantined_rows) == len(log)
    assert r.kernel.store.open_rows == 0
    for offset, _, reason in r.quarantined_rows[quarantined_before:]:
        sent = orjson.loads(log[offset].value)
        now = patients_at(corrected, sent["device_id"], sent["time"])
        assert {"unpaired": not now, "ambiguous_pairing": len(now) > 1}.get(reason, len(now) == 1)


@given(logs(most=40), corrections())
@settings(deadline=None, max_examples=60)
def test_a_correction_seen_in_small_steps_comes_to_the_same(log, corrected):
    def corrected_run():
        r = new_run()
        r.add(r.kernel.ingest(log, pairings(), 1))
        r.kernel.learn(corrected, 2)
        r.close(FAR_MS)
        return r.windows, sorted(r.quarantined_rows), sorted(r.late), sorted(r.quarantined)

    whole = corrected_run()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window_emitter, "MAX_QUARANTINED_ROWS", 1)
        assert corrected_run() == whole


def _kept_and_left(log, corrected):
    """The kernel learns the correction between the readings and the closing pass."""
    r = new_run()
    r.add(r.kernel.ingest(log, pairings(), 1))
    r.kernel.learn(pairings() | {("north", "d0"): corrected}, 2)
    closed = r.kernel.close(FAR_MS)
    return [orjson.loads(w.value) for w in closed.windows], closed


def test_a_window_that_is_open_when_its_pairing_is_corrected_is_the_new_patients():
    windows, closed = _kept_and_left([measured(i, BASE_MS + i * 1000) for i in range(5)], paired("d0", ("p7", 0, None)))
    assert [(w["patient_id"], w["count"]) for w in windows] == [("p7", 5)]
    assert not closed.quarantined
    assert closed.partition.settled == 5


def test_a_window_is_divided_where_the_corrected_pairing_changes_hands():
    corrected = paired("d0", ("p0", 0, 3), ("p7", 3, None))
    windows, _ = _kept_and_left([measured(i, BASE_MS + i * 1000) for i in range(5)], corrected)
    assert sorted((w["patient_id"], w["count"]) for w in windows) == [("p0", 3), ("p7", 2)]


@pytest.mark.parametrize(
    ("corrected", "reason"),
    [
        (paired("d0"), "unpaired"),
        (paired("d0", ("p0", 0, None), ("p7", 0, None)), "ambiguous_pairing"),
    ],
)
def test_open_readings_whose_patient_is_no_longer_known_leave_with_their_place_in_the_log(corrected, reason):
    windows, closed = _kept_and_left([measured(i, BASE_MS + i * 1000, value=60 + i) for i in range(3)], corrected)
    assert not windows
    assert closed.partition.settled == 3
    left = sorted(closed.quarantined, key=lambda w: w.offset)
    assert [(w.reason, w.tenant_id, w.device_id, w.offset, w.frame_index) for w in left] == [
        (reason, "north", "d0", at, 0) for at in range(3)
    ]
    assert left[2].reading == {
        "type": "heart_rate", "value": 62.0, "unit": "/min", "time": "2026-01-05T10:00:02.000Z", "seq": None,
    }  # fmt: skip
    assert left[2].arrived_ms == BASE_MS + 2000


def test_an_open_reading_that_names_the_previous_patient_is_refused_as_a_mismatch():
    plain = measured(0, BASE_MS)
    naming = plain._replace(offset=1, value=orjson.dumps(orjson.loads(plain.value) | {"patient_id": "p0", "seq": 1}))
    windows, closed = _kept_and_left([plain, naming], paired("d0", ("p7", 0, None)))
    assert [(w["patient_id"], w["count"]) for w in windows] == [("p7", 1)]
    assert [(w.reason, w.offset) for w in closed.quarantined] == [("patient_mismatch", 1)]


def test_a_correction_taken_back_before_the_window_closes_changes_nothing():
    r = new_run()
    r.add(r.kernel.ingest([measured(0, BASE_MS)], pairings(), 1))
    r.kernel.learn(pairings() | {("north", "d0"): paired("d0")}, 2)
    r.kernel.learn(pairings(), 3)
    r.close(FAR_MS)
    assert not r.quarantined_rows
    assert len(r.windows) == 1
