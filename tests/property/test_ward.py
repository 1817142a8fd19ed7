"""The simulated ward: the same every time, in order, and honest about what should become of each measurement."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import topics
from schemas.instants import epoch_ms
from schemas.publish import json_schema
from schemas.reasons import Reason
from testbed.ward.anomalies import ANOMALIES
from testbed.ward.plan import MOVED_DEVICE, STREAM_DEVICE, Ward, admit
from testbed.ward.replay import ARTEFACT
from testbed.ward.script import Pace, script
from testbed.ward.sending import Sent

START = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
PACE = Pace()
NOT_OF_THE_CONTRACT = {Reason.MALFORMED, Reason.NO_TIME_ZONE}
SCHEMA = jsonschema.Draft202012Validator(json_schema(topics.READINGS))

wards = st.builds(
    lambda seed, beds, second: admit(seed=seed, beds=beds, started_at=START + timedelta(seconds=second)),
    st.integers(0, 10_000),
    st.integers(2, 8),
    st.integers(0, 59),
)


def _played(ward: Ward, duration_s: float = 25) -> list[Sent]:
    return list(script(ward, PACE, duration_s))


def _readings(sent: Sent) -> list[dict[str, Any]]:
    payload = json.loads(sent.value)
    inner = payload.get("readings")
    return inner if inner is not None else [payload]


@given(wards)
@settings(max_examples=10, deadline=None)
def test_the_same_seed_and_start_play_the_same_bytes(ward: Ward) -> None:
    again = admit(seed=ward.seed, beds=len(ward.beds) - 4, started_at=ward.started_at)
    assert _played(ward) == _played(again)


@given(wards)
@settings(max_examples=10, deadline=None)
def test_messages_come_in_order_of_time_and_carry_one_outcome_a_measurement(ward: Ward) -> None:
    played = _played(ward)
    assert [s.at for s in played] == sorted(s.at for s in played)
    for sent in played:
        if sent.topic is topics.READINGS and Reason.MALFORMED not in sent.outcomes:
            assert len(sent.outcomes) == len(_readings(sent))
            assert len(sent.truth) == sent.outcomes.count("window")


@given(wards)
@settings(max_examples=5, deadline=None)
def test_messages_keep_the_published_schema_unless_the_anomaly_breaks_it(ward: Ward) -> None:
    kept = 0
    for sent in _played(ward):
        if (
            sent.topic is not topics.READINGS
            or NOT_OF_THE_CONTRACT & set(sent.outcomes)
            or sent.anomaly == "missing_unit"
        ):
            continue
        assert SCHEMA.is_valid(json.loads(sent.value))
        kept += 1
    assert kept


@given(wards)
@settings(max_examples=10, deadline=None)
def test_measurements_that_belong_in_a_window_are_unique_and_repeats_repeat_one_of_them(ward: Ward) -> None:
    truth = Counter[tuple[str, str, int]]()
    payloads: set[bytes] = set()
    for sent in _played(ward):
        if sent.outcomes == ("duplicate",):
            assert sent.value in payloads
        payloads.add(sent.value)
        truth.update((m.patient_id, m.type, m.time_ms) for m in sent.truth)
    assert set(truth.values()) == {1}


@given(wards)
@settings(max_examples=10, deadline=None)
def test_a_late_reading_comes_after_its_device_moved_past_its_window_and_grace(ward: Ward) -> None:
    newest_ms = 0
    late = 0
    for sent in _played(ward):
        if sent.key != STREAM_DEVICE:
            continue
        times = [_ms(r["time"]) for r in _readings(sent)]
        if sent.outcomes == ("late",):
            window_end_ms = times[0] - times[0] % 5000 + 5000
            assert window_end_ms + 2000 <= newest_ms
            late += 1
        else:
            newest_ms = max(newest_ms, *times)
    assert late >= 1


@given(wards)
@settings(max_examples=10, deadline=None)
def test_the_moved_monitor_measures_each_patient_only_while_paired_with_them(ward: Ward) -> None:
    moved_ms = epoch_ms(ward.moved_at)
    first, second = next(bed for bed in ward.beds if bed.device_id == MOVED_DEVICE).patients
    for sent in _played(ward):
        for measured in sent.truth if sent.key == MOVED_DEVICE else ():
            assert measured.patient_id == (first if measured.time_ms < moved_ms else second)
            assert abs(measured.time_ms - moved_ms) >= 3000


def test_twenty_five_seconds_show_every_kind_of_anomaly() -> None:
    shown = {sent.anomaly for sent in _played(admit(seed=1, started_at=START))}
    assert {anomaly.name for anomaly in ANOMALIES} <= shown


def test_artefacts_of_the_recordings_stay_in_and_are_expected_to_be_refused() -> None:
    artefacts = [s for s in _played(admit(seed=1, started_at=START), 120) if s.anomaly == ARTEFACT]
    assert artefacts
    for sent in artefacts:
        assert sent.outcomes == (Reason.OUT_OF_RANGE,)
        assert sent.truth == ()


def test_reference_data_covers_every_bed_but_those_with_a_story() -> None:
    ward = admit(seed=1, started_at=START)
    consented = {consent.patient_id for consent in ward.consents()}
    at_ehr = {record.patient_id for record in ward.patients() if record.subject_ids}
    assert "p-private" not in consented
    assert "p-private" in at_ehr
    assert "p-else" in consented
    assert "p-else" not in at_ehr
    assert {"p-01", "p-moved-from", "p-moved-to", "p-stream"} <= consented & at_ehr


def _ms(time: int | str) -> int:
    return time if isinstance(time, int) else epoch_ms(datetime.fromisoformat(time))
