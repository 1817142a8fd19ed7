"""What of a device's history changed: the span holds every moment at which it says something else, whatever was corrected."""

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.reference import Pairing, PairingInterval, PatientRecord
from streams.delivery.corrections import (
    Span,
    changed_endpoints,
    changed_span,
    hull,
    pairing_fingerprint,
    patient_fingerprint,
    remembered,
)

START = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


def name(*parts: str) -> str:
    return hashlib.sha256("|".join(parts).encode()).hexdigest()


def at(second: int) -> datetime:
    return START + timedelta(seconds=second)


seconds = st.integers(0, 12)
intervals = st.lists(
    st.builds(
        lambda patient, since, length: PairingInterval(
            patient_id=patient, since=at(since), until=None if length is None else at(since + length)
        ),
        st.sampled_from(["p", "q"]),
        seconds,
        st.none() | seconds,
    ),
    max_size=4,
)
histories = intervals.map(lambda spans: Pairing(tenant_id="north", device_id="d", intervals=spans))


def whose(pairing: Pairing, moment: datetime) -> set[str]:
    return {
        span.patient_id
        for span in pairing.intervals
        if span.since <= moment and (span.until is None or moment < span.until)
    }


@given(histories, histories)
def test_every_moment_that_changed_hands_is_within_the_span(before: Pairing, after: Pairing) -> None:
    span = changed_span(pairing_fingerprint(before, name), pairing_fingerprint(after, name))
    for second in range(30):
        if whose(before, at(second)) != whose(after, at(second)):
            assert span is not None
            assert span.first is None or span.first <= at(second)
            assert span.last is None or at(second) <= span.last


@given(histories)
def test_a_history_that_says_the_same_has_no_span(history: Pairing) -> None:
    again = history.model_copy(update={"intervals": list(reversed(history.intervals))})
    assert changed_span(pairing_fingerprint(history, name), pairing_fingerprint(again, name)) is None


def test_a_device_that_moves_on_is_looked_at_from_then_on_only() -> None:
    before = Pairing(device_id="d", intervals=[PairingInterval(patient_id="p", since=at(0))])
    moved = [PairingInterval(patient_id="p", since=at(0), until=at(5)), PairingInterval(patient_id="q", since=at(5))]
    after = Pairing(device_id="d", intervals=moved)
    assert changed_span(pairing_fingerprint(before, name), pairing_fingerprint(after, name)) == Span(at(5), None)
    assert changed_span(None, pairing_fingerprint(after, name)) == Span(None, None)


def test_what_changed_twice_is_looked_at_in_all() -> None:
    assert hull(Span(at(1), at(2)), Span(at(4), None)) == Span(at(1), None)
    assert hull(Span(at(3), at(9)), Span(at(4), at(5))) == Span(at(3), at(9))
    assert hull(None, Span(at(1), at(2))) == Span(at(1), at(2))
    assert hull(Span(None, None), Span(at(1), at(2))) == Span(None, None)


def test_what_is_remembered_of_a_record_names_no_patient() -> None:
    pairing = Pairing(device_id="d", intervals=[PairingInterval(patient_id="CANARY", since=at(0))])
    patient = PatientRecord(patient_id="CANARY", subject_ids={"north": "CANARY"})
    assert "CANARY" not in pairing_fingerprint(pairing, name) + patient_fingerprint(patient, name)


def test_an_id_that_was_gone_and_came_back_as_another_is_a_change() -> None:
    def ids(**subjects: str) -> str:
        return patient_fingerprint(PatientRecord(patient_id="p", subject_ids=subjects), name)

    first, gone, other = ids(a="1", b="2"), ids(b="2"), ids(a="3", b="2")
    assert changed_endpoints(None, first) == ["a", "b"]
    assert changed_endpoints(first, gone) == []
    kept = remembered(first, gone)
    assert changed_endpoints(kept, first) == []
    assert changed_endpoints(kept, other) == ["a"]


zones = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
moments = st.datetimes(timezones=zones) | st.builds(
    lambda extreme, zone: extreme.replace(tzinfo=zone),
    st.sampled_from([datetime.min, datetime.max, datetime(9999, 12, 31, 23, 59, 59)]),
    zones,
)
any_history = st.lists(
    st.builds(
        lambda since, until: PairingInterval(patient_id="p", since=since, until=until), moments, st.none() | moments
    ),
    max_size=3,
).map(lambda spans: Pairing(tenant_id="north", device_id="d", intervals=spans))
NOTHING = Pairing(tenant_id="north", device_id="d", intervals=[])


@given(any_history, any_history)
def test_histories_up_to_the_ends_of_time_can_be_compared(before: Pairing, after: Pairing) -> None:
    for one, other in ((before, after), (before, NOTHING), (NOTHING, after)):
        span = changed_span(pairing_fingerprint(one, name), pairing_fingerprint(other, name))
        assert span is None or span.first is None or span.last is None or span.first <= span.last


@pytest.mark.parametrize(("end", "zone_hours"), [(datetime(9999, 12, 31, 23, 59, 59), -5), (datetime(1, 1, 1), 1)])
def test_a_pairing_for_ever_that_gets_its_real_end_is_compared_to_the_end_of_time(
    end: datetime, zone_hours: int
) -> None:
    end = end.replace(tzinfo=timezone(timedelta(hours=zone_hours)))
    for_ever = PairingInterval(patient_id="p", since=min(end, START), until=max(end, START))
    span = changed_span(
        pairing_fingerprint(Pairing(device_id="d", intervals=[for_ever]), name), pairing_fingerprint(NOTHING, name)
    )
    assert span in (Span(START, None), Span(None, START))


any_name = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)


@given(st.dictionaries(any_name, st.just("a"), max_size=3), st.dictionaries(any_name, st.just("b"), max_size=3))
def test_any_names_of_endpoints_can_be_remembered_and_compared(before: dict[str, str], after: dict[str, str]) -> None:
    """`model_construct`: the reader refuses some of them, a version before did not."""
    known = patient_fingerprint(PatientRecord.model_construct(subject_ids=before), name)
    told = remembered(known, patient_fingerprint(PatientRecord.model_construct(subject_ids=after), name))
    assert set(changed_endpoints(known, told)) == set(after)
    told.encode("ascii")
    assert set(json.loads(told)) == before.keys() | after.keys()
