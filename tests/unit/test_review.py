"""What becomes of a recorded intent when pairing, consent or the patient's record no longer are what they were."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from schemas.operation import Intent, Operation, Source, State
from schemas.reference import PairingInterval, Provision
from streams.delivery.review import Readdress, Stop, review
from tests.doubles.ledgers import intent, operation
from tests.doubles.ports import StaticReference, fixed_clock

NOW = fixed_clock()
FIRST, LAST = NOW.replace(minute=0, second=0), NOW.replace(minute=0, second=59)
PAIRING_CHANGED, SUBJECT_CHANGED = Stop(State.HELD, "pairing_changed"), Stop(State.HELD, "subject_changed")
NO_CONSENT = Stop(State.QUARANTINED, "no_consent")
MEASURED = Source(event_id="w1", part_ids=["w1"], device_id="mon-17", first_time=FIRST, last_time=LAST)
UNNAMED = Source(event_id="w1", part_ids=["w1"])


def known_intent(**differs: Any) -> Intent:
    payload = {"resourceType": "Observation", "subject": {"reference": "Patient/a"}, "status": "final"}
    known = {"subject_id": "a", "source": MEASURED, "occurred_at": FIRST + timedelta(minutes=1), "payload": payload}
    return intent(endpoint="north-fhir", **known | differs)


def recorded(state: State = State.IN_PROGRESS, in_doubt: bool = False, **differs: Any) -> Operation:
    return operation(known_intent(**differs), state=state, in_doubt=in_doubt)


def span(since: datetime, until: datetime | None = None, patient: str = "p-9") -> PairingInterval:
    return PairingInterval(patient_id=patient, since=since, until=until)


@pytest.fixture
def reference() -> StaticReference:
    made = StaticReference()
    made.admit("p-9", north_fhir="a")
    made.pair("mon-17", span(FIRST - timedelta(hours=1)))
    return made


def consent_during(reference: StaticReference, since: datetime | None, until: datetime | None) -> None:
    old = reference.consents["north", "p-9"]
    reference.consents["north", "p-9"] = old.model_copy(update={"since": since, "until": until})


def test_what_still_agrees_goes_on_as_it_is(reference: StaticReference) -> None:
    assert review(recorded(), reference, NOW) is None


@pytest.mark.parametrize(
    "intervals",
    [
        [],
        [span(FIRST, patient="p-10")],
        [span(FIRST + timedelta(milliseconds=1))],
        [span(FIRST, LAST)],
        [span(FIRST, LAST), span(LAST, patient="p-10")],
        [span(FIRST, LAST - timedelta(seconds=20)), span(LAST - timedelta(seconds=10))],
        [span(FIRST), span(LAST, patient="p-10")],
        [span(LAST, FIRST)],
    ],
)
def test_a_device_that_was_not_this_patients_from_first_to_last_reading_holds_the_result(
    reference: StaticReference, intervals: list[PairingInterval]
) -> None:
    reference.pair("mon-17", *intervals)
    assert review(recorded(), reference, NOW) == PAIRING_CHANGED


@pytest.mark.parametrize(
    "intervals",
    [
        [span(FIRST, LAST + timedelta(milliseconds=1))],
        [span(FIRST - timedelta(days=1), FIRST, "p-10"), span(FIRST)],
        [span(FIRST), span(LAST + timedelta(seconds=1), patient="p-10")],
        [span(LAST - timedelta(seconds=9)), span(FIRST, LAST - timedelta(seconds=9))],
        [span(FIRST), span(FIRST - timedelta(days=1), LAST)],
        [span(LAST, FIRST, "p-10"), span(FIRST)],
    ],
)
def test_a_history_corrected_elsewhere_holds_nothing(
    reference: StaticReference, intervals: list[PairingInterval]
) -> None:
    reference.pair("mon-17", *intervals)
    assert review(recorded(), reference, NOW) is None


def test_a_device_without_any_pairing_left_holds_the_result(reference: StaticReference) -> None:
    reference.paired.clear()
    assert review(recorded(), reference, NOW) == PAIRING_CHANGED


def test_an_intent_of_a_version_that_did_not_name_the_device_is_compared_by_the_rest(
    reference: StaticReference,
) -> None:
    reference.paired.clear()
    old = recorded(source=UNNAMED)
    assert review(old, reference, NOW) is None
    reference.consents.clear()
    assert review(old, reference, NOW) == NO_CONSENT


@pytest.mark.parametrize(
    ("since", "until", "permitted"),
    [
        (FIRST, None, True),
        (FIRST + timedelta(microseconds=1), None, False),
        (LAST, None, False),
        (None, LAST, False),
        (None, NOW, False),
        (None, NOW + timedelta(microseconds=1), True),
    ],
)
def test_consent_must_hold_from_first_to_last_reading_and_now(
    reference: StaticReference, since: datetime | None, until: datetime | None, permitted: bool
) -> None:
    consent_during(reference, since, until)
    assert review(recorded(), reference, NOW) == (None if permitted else NO_CONSENT)


def test_consent_that_ended_inside_the_window_does_not_come_back_later(reference: StaticReference) -> None:
    consent_during(reference, None, LAST)
    assert review(recorded(), reference, LAST - timedelta(seconds=1)) == NO_CONSENT


def test_the_end_of_an_old_intents_window_is_not_part_of_it(reference: StaticReference) -> None:
    consent_during(reference, NOW.replace(second=0), None)
    old = recorded(source=UNNAMED, occurred_at=NOW.replace(second=0))
    assert review(old, reference, NOW) == NO_CONSENT


def test_a_corrected_id_at_the_ehr_readdresses_what_was_never_sent(reference: StaticReference) -> None:
    reference.admit("p-9", north_fhir="b")
    readdressed = review(recorded(), reference, NOW)
    assert isinstance(readdressed, Readdress)
    assert readdressed.intent.subject_id == "b"
    assert readdressed.intent.payload == known_intent().payload | {"subject": {"reference": "Patient/b"}}
    assert readdressed.intent.content_hash == "c1"


@pytest.mark.parametrize("doubtful", [recorded(State.UNKNOWN), recorded(in_doubt=True)])
def test_a_corrected_id_holds_what_may_have_been_written_under_the_old_one(
    reference: StaticReference, doubtful: Operation
) -> None:
    assert review(doubtful, reference, NOW) is None
    reference.admit("p-9", north_fhir="b")
    assert review(doubtful, reference, NOW) == SUBJECT_CHANGED


@pytest.mark.parametrize(
    "payload",
    [
        {"subject": {"reference": "Patient/other"}},
        {"subject": None},
        {},
        {"subject": {"reference": "Patient/a"}, "performer": [{"reference": "Patient/a"}]},
        {"subject": {"reference": "Patient/a", "identifier": {"value": "a"}}},
        {"subject": {"reference": "Patient/a"}, "note": [{"text": "of Patient/a at night"}]},
    ],
)
def test_a_resource_that_names_the_patient_elsewhere_is_held_and_not_half_corrected(
    reference: StaticReference, payload: dict[str, Any]
) -> None:
    reference.admit("p-9", north_fhir="b")
    assert review(recorded(payload=payload), reference, NOW) == SUBJECT_CHANGED


@pytest.mark.parametrize("subject_ids", [{}, {"north_epic": "a"}, {"north_fhir": ""}, {"north_fhir": "a/../b"}])
def test_a_patient_no_longer_known_at_the_endpoint_holds_the_result(
    reference: StaticReference, subject_ids: dict[str, str]
) -> None:
    reference.admit("p-9", **subject_ids)
    assert review(recorded(), reference, NOW) == Stop(State.HELD, "unknown_patient")


def test_a_consent_that_nobody_can_read_defers_and_refuses_nothing(reference: StaticReference) -> None:
    reference.closed.add(("north", "p-9"))
    assert review(recorded(), reference, NOW) == Stop(State.DEFERRED, "consent_in_doubt")
    reference.closed.clear()
    assert review(recorded(), reference, NOW) is None
    reference.consents.clear()
    assert review(recorded(), reference, NOW) == NO_CONSENT


def test_a_consent_corrected_between_two_reads_refuses_nothing(
    reference: StaticReference, monkeypatch: pytest.MonkeyPatch
) -> None:
    def corrected(*_key: str) -> bool:
        reference.closed.clear()
        return False

    reference.closed.add(("north", "p-9"))
    monkeypatch.setattr(reference, "consent_in_doubt", corrected)
    assert review(recorded(), reference, NOW) == Stop(State.DEFERRED, "consent_in_doubt")


@pytest.mark.parametrize(("purpose", "scope"), [("vitals", "spo2"), ("documents", "*"), ("patient-info", "Condition")])
def test_consent_is_asked_for_the_purpose_and_scope_of_the_intent(
    reference: StaticReference, purpose: str, scope: str
) -> None:
    asking = recorded(purpose=purpose, scope=scope)
    consent = reference.consents["north", "p-9"]
    for permits, agreed in (
        ([Provision(purpose="vitals", types=["heart_rate"])], NO_CONSENT),
        ([Provision(purpose=asking.intent.purpose, types=[scope])], None),
    ):
        reference.consents["north", "p-9"] = consent.model_copy(update={"permits": permits})
        assert review(asking, reference, NOW) == agreed
