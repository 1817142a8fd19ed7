"""What is listed for a person when a pairing or a patient's id changes after results were charted, and what is not."""

from datetime import timedelta

import pytest

from schemas.errors import RetryLater
from schemas.operation import State
from schemas.topics import CORRECTIONS
from tests.doubles.correction_watch import LEASE_S, START, CorrectionHarness


async def test_what_was_charted_for_another_than_the_corrected_pairing_says_is_listed(
    corrections: CorrectionHarness,
) -> None:
    wrong, right = corrections.chart(0), corrections.chart(10)
    corrections.pair("p", at_minute=5, before="q")
    await corrections.watch.look()
    (listed,) = corrections.listed()
    assert (listed.operation_id, listed.cause, listed.resource_id) == (wrong, "pairing_changed", "o0")
    assert (listed.patient_id, listed.subject_id, listed.device_id) == ("p", "a", "mon-1")
    assert (listed.first_time, listed.last_time) == (START, START + timedelta(seconds=59))
    assert right not in corrections.ids()
    assert 'vitalwire_corrections_total{cause="pairing_changed"} 1.0' in corrections.observer.exposition().decode()
    assert [(record.topic, record.key) for record in corrections.ledger.records] == [(CORRECTIONS, b"north|p")]
    assert [(s.action, s.operation_id, s.reason) for s in corrections.ledger.steps] == [
        ("correction.listed", wrong, "pairing_changed")
    ]


async def test_a_result_is_listed_once_however_often_its_device_changes_hands(corrections: CorrectionHarness) -> None:
    wrong = corrections.chart(0)
    for patient in ("q", "r", "s"):
        corrections.pair(patient)
        await corrections.watch.look()
        corrections.elapsed_s += LEASE_S
        await corrections.watch.look()
    assert corrections.ids() == [wrong]


async def test_what_was_on_its_way_when_the_pairing_changed_is_found_at_the_second_look(
    corrections: CorrectionHarness,
) -> None:
    corrections.pair("q")
    await corrections.watch.look()
    wrong = corrections.chart(0)
    await corrections.watch.look()
    assert corrections.ids() == []
    corrections.elapsed_s += LEASE_S
    await corrections.watch.look()
    assert corrections.ids() == [wrong]


async def test_what_was_charted_while_the_records_changed_is_listed_when_it_is_noted(
    corrections: CorrectionHarness,
) -> None:
    corrections.pair("q")
    await corrections.watch.look()
    corrections.elapsed_s += LEASE_S
    await corrections.watch.look()
    late = corrections.chart(0)
    corrections.watch.note(corrections.ledger.operations[late])
    await corrections.watch.look()
    assert corrections.ids() == [late]


async def test_what_is_noted_before_the_ledger_has_its_outcome_waits_for_it(corrections: CorrectionHarness) -> None:
    corrections.pair("q")
    await corrections.watch.look()
    corrections.elapsed_s += LEASE_S
    await corrections.watch.look()
    late = corrections.chart(0)
    charted = corrections.ledger.operations[late]
    corrections.ledger.operations[late] = charted.model_copy(update={"state": State.UNKNOWN})
    corrections.watch.note(charted)
    await corrections.watch.look()
    assert corrections.ids() == []
    corrections.ledger.operations[late] = charted
    await corrections.watch.look()
    assert corrections.ids() == [late]


async def test_a_correction_taken_back_within_minutes_leaves_no_result_of_the_wrong_patient_unlisted(
    corrections: CorrectionHarness,
) -> None:
    corrections.pair("q")
    await corrections.watch.look()
    meanwhile = corrections.chart(0, patient_id="q")
    corrections.pair("p")
    await corrections.watch.look()
    assert corrections.ids() == [meanwhile]


async def test_a_result_that_agreed_again_is_listed_again_when_it_does_not(corrections: CorrectionHarness) -> None:
    wrong = corrections.chart(0)
    for patient in ("q", "p", "q"):
        corrections.pair(patient)
        await corrections.watch.look()
    assert corrections.ids() == [wrong, wrong]


async def test_a_change_made_while_no_worker_ran_is_noticed_at_the_start(corrections: CorrectionHarness) -> None:
    wrong = corrections.chart(0)
    corrections.pair("q")
    await corrections.another_worker().look()
    assert corrections.ids() == [wrong]


async def test_a_worker_that_died_between_its_two_looks_leaves_the_second_to_the_next(
    corrections: CorrectionHarness,
) -> None:
    corrections.pair("q")
    await corrections.watch.look()
    wrong = corrections.chart(0)
    await corrections.another_worker().look()
    assert corrections.ids() == [wrong]


async def test_results_under_a_corrected_id_of_the_ehr_are_listed(corrections: CorrectionHarness) -> None:
    wrong, held = corrections.chart(0), corrections.chart(1, state=State.HELD)
    right = corrections.chart(2, subject_id="b")
    corrections.call("b")
    await corrections.watch.look()
    assert [(one.operation_id, one.cause, one.subject_id) for one in corrections.listed()] == [
        (wrong, "subject_changed", "a")
    ]
    assert {held, right}.isdisjoint(corrections.ids())


async def test_records_that_change_nothing_of_the_past_are_not_listed(corrections: CorrectionHarness) -> None:
    corrections.chart(0)
    corrections.pair("p")
    corrections.call("a")
    corrections.pair("q", at_minute=30, before="p")
    await corrections.watch.look()
    assert corrections.listed() == []


async def test_more_results_than_a_page_are_all_listed(
    corrections: CorrectionHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.delivery.correction_watch.PAGE", 3)
    wrong = [corrections.chart(minute) for minute in range(10)]
    corrections.pair("q")
    await corrections.watch.look()
    assert corrections.ids() == wrong


async def test_nothing_is_compared_with_records_that_are_not_current(corrections: CorrectionHarness) -> None:
    corrections.chart(0)
    corrections.pair("q")
    corrections.reference.stale = 1
    await corrections.watch.look()
    assert corrections.listed() == []
    await corrections.watch.look()
    assert len(corrections.listed()) == 1


async def test_a_ledger_that_is_away_delays_a_list_and_loses_none_of_it(corrections: CorrectionHarness) -> None:
    wrong = corrections.chart(0)
    corrections.pair("q")
    corrections.ledger.away = True
    with pytest.raises(RetryLater):
        await corrections.watch.look()
    corrections.ledger.away = False
    await corrections.watch.look()
    assert corrections.ids() == [wrong]
