"""What is listed for a person when a pairing or a patient's id changes after results were charted, and what is not."""

from datetime import timedelta
from typing import Any

import pytest

from adapters.metrics import PrometheusObserver
from schemas.correction import Correction
from schemas.errors import RetryLater
from schemas.operation import Intent, Operation, Outcome, Source, State
from schemas.reference import PairingInterval
from schemas.topics import CORRECTIONS
from streams.delivery.correction_watch import CorrectionWatch
from tests.doubles.memory_ledger import MemoryLedger
from tests.doubles.ports import StaticReference, fixed_clock

START = fixed_clock().replace(minute=0, second=0)
LEASE_S = 300.0


class Ward:
    """Charted results, records that are corrected, and a watch whose time a test holds."""

    def __init__(self) -> None:
        self.ledger = MemoryLedger()
        self.reference = StaticReference()
        self.observer = PrometheusObserver()
        self.elapsed_s = 0.0
        self.reference.admit("p", north="a")
        self.pair("p")
        self.watch = self.another_worker()

    def another_worker(self) -> CorrectionWatch:
        return CorrectionWatch(self.reference, self.ledger, self.observer, fixed_clock, LEASE_S, lambda: self.elapsed_s)

    def pair(self, patient: str, *, at_minute: int = 0, before: str | None = None) -> None:
        """The device is this patient's from a minute on; before that another's."""
        since = START + timedelta(minutes=at_minute)
        spans = [PairingInterval(patient_id=patient, since=since)]
        if before is not None:
            spans.append(PairingInterval(patient_id=before, since=START - timedelta(days=9), until=since))
        self.reference.pair("mon-1", *spans)

    def close(self) -> None:
        """Nobody can read the device's record."""
        self.reference.closed.add(("north", "mon-1"))
        self.reference.changes += 1

    def open(self) -> None:
        """It can be read again."""
        self.reference.closed.clear()
        self.reference.changes += 1

    def call(self, subject_id: str) -> None:
        self.reference.admit("p", north=subject_id)
        self.reference.changes += 1

    def chart(self, minute: int = 0, subject_id: str = "a", state: State = State.SUCCEEDED, **differs: object) -> str:
        first = START + timedelta(minutes=minute)
        source = Source(
            event_id=f"w{minute}", part_ids=[f"w{minute}"], device_id="mon-1", first_time=first,
            last_time=first + timedelta(seconds=59),
        )  # fmt: skip
        intent = Intent(
            tenant_id="north", endpoint="north", patient_id="p", subject_id=subject_id, source=source,
            purpose="vitals", scope="heart_rate", resource_type="Observation", content_hash="c",
            occurred_at=first + timedelta(minutes=1), payload={"resourceType": "Observation"},
        )  # fmt: skip
        (recorded,) = self.ledger.record([intent.model_copy(update=differs)])
        (claimed,) = self.ledger.claim("north", 1, 60)
        self.ledger.settle({claimed.operation_id: Outcome(state=state, fence=claimed.fence, resource_id=f"o{minute}")})
        return recorded.operation_id

    def listed(self) -> list[Correction]:
        return [Correction.model_validate_json(record.value or b"") for record in self.ledger.records]

    def ids(self) -> list[str]:
        return [one.operation_id for one in self.listed()]


@pytest.fixture
async def ward() -> Ward:
    made = Ward()
    await made.watch.look()
    return made


async def test_what_was_charted_for_another_than_the_corrected_pairing_says_is_listed(ward: Ward) -> None:
    wrong, right = ward.chart(0), ward.chart(10)
    ward.pair("p", at_minute=5, before="q")
    await ward.watch.look()
    (listed,) = ward.listed()
    assert (listed.operation_id, listed.cause, listed.resource_id) == (wrong, "pairing_changed", "o0")
    assert (listed.patient_id, listed.subject_id, listed.device_id) == ("p", "a", "mon-1")
    assert (listed.first_time, listed.last_time) == (START, START + timedelta(seconds=59))
    assert right not in ward.ids()
    assert 'vitalwire_corrections_total{cause="pairing_changed"} 1.0' in ward.observer.exposition().decode()
    assert [(record.topic, record.key) for record in ward.ledger.records] == [(CORRECTIONS, b"north|p")]
    assert [(s.action, s.operation_id, s.reason) for s in ward.ledger.steps] == [
        ("correction.listed", wrong, "pairing_changed")
    ]


async def test_a_result_is_listed_once_however_often_its_device_changes_hands(ward: Ward) -> None:
    wrong = ward.chart(0)
    for patient in ("q", "r", "s"):
        ward.pair(patient)
        await ward.watch.look()
        ward.elapsed_s += LEASE_S
        await ward.watch.look()
    assert ward.ids() == [wrong]


async def test_what_was_on_its_way_when_the_pairing_changed_is_found_at_the_second_look(ward: Ward) -> None:
    ward.pair("q")
    await ward.watch.look()
    wrong = ward.chart(0)
    await ward.watch.look()
    assert ward.ids() == []
    ward.elapsed_s += LEASE_S
    await ward.watch.look()
    assert ward.ids() == [wrong]


async def test_what_was_charted_while_the_records_changed_is_listed_when_it_is_noted(ward: Ward) -> None:
    ward.pair("q")
    await ward.watch.look()
    ward.elapsed_s += LEASE_S
    await ward.watch.look()
    late = ward.chart(0)
    ward.watch.note(ward.ledger.operations[late])
    await ward.watch.look()
    assert ward.ids() == [late]


async def test_what_is_noted_before_the_ledger_has_its_outcome_waits_for_it(ward: Ward) -> None:
    ward.pair("q")
    await ward.watch.look()
    ward.elapsed_s += LEASE_S
    await ward.watch.look()
    late = ward.chart(0)
    charted = ward.ledger.operations[late]
    ward.ledger.operations[late] = charted.model_copy(update={"state": State.UNKNOWN})
    ward.watch.note(charted)
    await ward.watch.look()
    assert ward.ids() == []
    ward.ledger.operations[late] = charted
    await ward.watch.look()
    assert ward.ids() == [late]


async def test_a_correction_taken_back_within_minutes_leaves_no_result_of_the_wrong_patient_unlisted(
    ward: Ward,
) -> None:
    ward.pair("q")
    await ward.watch.look()
    meanwhile = ward.chart(0, patient_id="q")
    ward.pair("p")
    await ward.watch.look()
    assert ward.ids() == [meanwhile]


async def test_a_result_that_agreed_again_is_listed_again_when_it_does_not(ward: Ward) -> None:
    wrong = ward.chart(0)
    for patient in ("q", "p", "q"):
        ward.pair(patient)
        await ward.watch.look()
    assert ward.ids() == [wrong, wrong]


async def test_a_change_made_while_no_worker_ran_is_noticed_at_the_start(ward: Ward) -> None:
    wrong = ward.chart(0)
    ward.pair("q")
    await ward.another_worker().look()
    assert ward.ids() == [wrong]


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_pairing_that_is_gone_lists_nothing_and_is_compared_with_what_it_said_when_it_comes_back(
    ward: Ward, restarted: bool
) -> None:
    wrong = ward.chart(0)
    ward.reference.paired.clear()
    ward.reference.changes += 1
    watch = ward.another_worker() if restarted else ward.watch
    await watch.look()
    assert ward.ids() == []
    ward.pair("p")
    await watch.look()
    assert ward.ids() == []
    ward.reference.paired.clear()
    ward.reference.changes += 1
    await watch.look()
    ward.pair("q")
    await watch.look()
    assert ward.ids() == [wrong]


async def test_a_worker_that_died_between_its_two_looks_leaves_the_second_to_the_next(ward: Ward) -> None:
    ward.pair("q")
    await ward.watch.look()
    wrong = ward.chart(0)
    await ward.another_worker().look()
    assert ward.ids() == [wrong]


async def test_results_under_a_corrected_id_of_the_ehr_are_listed(ward: Ward) -> None:
    wrong, held = ward.chart(0), ward.chart(1, state=State.HELD)
    right = ward.chart(2, subject_id="b")
    ward.call("b")
    await ward.watch.look()
    assert [(one.operation_id, one.cause, one.subject_id) for one in ward.listed()] == [(wrong, "subject_changed", "a")]
    assert {held, right}.isdisjoint(ward.ids())


async def test_an_id_that_is_gone_doubts_nothing_and_one_that_comes_back_as_another_does(ward: Ward) -> None:
    wrong = ward.chart(0)
    for subject in ("", "b"):
        ward.call(subject)
        await ward.watch.look()
        ward.elapsed_s += LEASE_S
        await ward.watch.look()
        assert ward.ids() == ([wrong] if subject else [])


async def test_records_that_change_nothing_of_the_past_are_not_listed(ward: Ward) -> None:
    ward.chart(0)
    ward.pair("p")
    ward.call("a")
    ward.pair("q", at_minute=30, before="p")
    await ward.watch.look()
    assert ward.listed() == []


async def test_more_results_than_a_page_are_all_listed(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.delivery.correction_watch.PAGE", 3)
    wrong = [ward.chart(minute) for minute in range(10)]
    ward.pair("q")
    await ward.watch.look()
    assert ward.ids() == wrong


async def test_nothing_is_compared_with_records_that_are_not_current(ward: Ward) -> None:
    ward.chart(0)
    ward.pair("q")
    ward.reference.stale = 1
    await ward.watch.look()
    assert ward.listed() == []
    await ward.watch.look()
    assert len(ward.listed()) == 1


async def test_a_ledger_that_is_away_delays_a_list_and_loses_none_of_it(ward: Ward) -> None:
    wrong = ward.chart(0)
    ward.pair("q")
    ward.ledger.away = True
    with pytest.raises(RetryLater):
        await ward.watch.look()
    ward.ledger.away = False
    await ward.watch.look()
    assert ward.ids() == [wrong]


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_pairing_that_nobody_can_read_lists_nothing_until_it_says_something_else(restarted: bool) -> None:
    ward = Ward()
    ward.chart()
    await ward.watch.look()
    ward.reference.closed.add(("north", "mon-1"))
    ward.reference.changes += 1
    if restarted:
        ward.watch = ward.another_worker()
    await ward.watch.look()
    assert ward.ledger.records == []
    ward.reference.closed.clear()
    ward.reference.changes += 1
    await ward.watch.look()
    assert ward.ledger.records == []
    ward.pair("q")
    await ward.watch.look()
    assert len(ward.ledger.records) == 1


async def test_a_corrected_id_is_listed_though_nobody_can_read_the_pairing() -> None:
    ward = Ward()
    ward.chart()
    await ward.watch.look()
    ward.reference.closed.add(("north", "mon-1"))
    ward.call("b")
    await ward.watch.look()
    assert [Correction.model_validate_json(one.value or b"").cause for one in ward.ledger.records] == [
        "subject_changed"
    ]


async def test_what_is_listed_is_not_listed_twice_where_its_pairing_is_closed_for_a_moment(ward: Ward) -> None:
    wrong = ward.chart(0)
    ward.pair("q")
    await ward.watch.look()
    for _ in range(2):
        ward.close()
        ward.elapsed_s += LEASE_S
        await ward.watch.look()
        ward.open()
        await ward.watch.look()
        ward.pair("r")
        await ward.watch.look()
    assert ward.ids() == [wrong]


async def test_a_second_look_waits_until_the_pairing_can_be_read(ward: Ward) -> None:
    ward.pair("q")
    await ward.watch.look()
    wrong = ward.chart(0)
    ward.close()
    ward.elapsed_s += LEASE_S
    await ward.watch.look()
    assert ward.ids() == []
    ward.open()
    await ward.watch.look()
    assert ward.ids() == [wrong]


async def test_what_was_charted_while_its_pairing_was_closed_is_compared_when_it_can_be_read(ward: Ward) -> None:
    ward.pair("q")
    await ward.watch.look()
    ward.elapsed_s += LEASE_S
    await ward.watch.look()
    late = ward.chart(0)
    ward.close()
    ward.watch.note(ward.ledger.operations[late])
    await ward.watch.look()
    assert ward.ids() == []
    ward.open()
    for _ in range(2):
        await ward.watch.look()
    assert ward.ids() == [late]


async def test_a_pairing_that_closes_while_it_is_compared_is_compared_again(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong, charted = ward.chart(0), ward.ledger.charted

    def closing(**of: Any) -> list[Operation]:
        ward.close()
        return charted(**of)

    ward.pair("q")
    monkeypatch.setattr(ward.ledger, "charted", closing)
    for _ in range(2):
        await ward.watch.look()
        ward.elapsed_s += LEASE_S
    monkeypatch.undo()
    assert ward.ids() == []
    ward.open()
    await ward.watch.look()
    assert ward.ids() == [wrong]
