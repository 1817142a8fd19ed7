"""Which operations a claim takes, and in which order: one of each patient, the earliest first."""

import threading
from datetime import timedelta

import pytest

from adapters.ledger import SqlLedger
from schemas.operation import State
from tests.doubles.ledgers import LATER, LEASE_S, NOW, HandClock, claimed_events, done, intent


def test_a_claim_takes_the_earliest_operation_of_each_patient_and_no_second_one(ledger: SqlLedger):
    ledger.record([intent("a1", patient="a"), intent("a2", patient="a"), intent("b1", patient="b")])
    assert claimed_events(ledger) == ["a1", "b1"]
    assert claimed_events(ledger) == []


def test_a_claim_takes_no_more_than_its_limit(ledger: SqlLedger):
    ledger.record([intent(f"w{n}", patient=f"p{n}") for n in range(5)])
    assert len(claimed_events(ledger, limit=3)) == 3
    assert len(claimed_events(ledger, limit=3)) == 2


def test_a_claim_is_for_one_endpoint(ledger: SqlLedger):
    ledger.record([intent("w1", endpoint="north-fhir")])
    assert claimed_events(ledger) == []


def test_a_claimed_operation_is_in_progress_and_counts_its_attempt(ledger: SqlLedger):
    ledger.record([intent("w1")])
    (operation,) = ledger.claim("north-epic", 1, LEASE_S)
    assert (operation.state, operation.attempts) == (State.IN_PROGRESS, 1)
    assert operation.next_attempt_at == NOW + timedelta(seconds=LEASE_S)


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED, State.QUARANTINED, State.HELD])
def test_the_next_operation_of_a_patient_follows_one_that_is_terminal_or_held(ledger: SqlLedger, state: State):
    first, _ = ledger.record([intent("w1"), intent("w2")])
    assert claimed_events(ledger) == ["w1"]
    ledger.settle({first.operation_id: done(state)})
    assert claimed_events(ledger) == ["w2"]
    assert ledger.states() == {"north-epic": {state: 1, State.IN_PROGRESS: 1}}


@pytest.mark.parametrize("state", [State.DEFERRED, State.UNKNOWN])
def test_an_operation_that_must_wait_keeps_its_patient_waiting_and_nobody_else(
    ledger: SqlLedger, clock: HandClock, state: State
):
    first, *_ = ledger.record([intent("a1", patient="a"), intent("a2", patient="a"), intent("b1", patient="b")])
    claimed_events(ledger, limit=1)
    ledger.settle({first.operation_id: done(state, retry_after_s=30)})
    assert claimed_events(ledger) == ["b1"]
    clock.now += timedelta(seconds=30)
    (again,) = ledger.claim("north-epic", 10, LEASE_S)
    assert again.intent.source.event_id == "a1"
    assert again.state is (State.IN_PROGRESS if state is State.DEFERRED else State.UNKNOWN)
    assert again.attempts == 2


def test_an_operation_whose_lease_ran_out_is_given_as_unknown_because_it_may_have_been_sent(
    ledger: SqlLedger, clock: HandClock
):
    ledger.record([intent("w1")])
    assert claimed_events(ledger) == ["w1"]
    clock.now += timedelta(seconds=LEASE_S - 1)
    assert claimed_events(ledger) == []
    clock.now = LATER
    (again,) = ledger.claim("north-epic", 1, LEASE_S)
    assert again.state is State.UNKNOWN
    assert ledger.operation(again.operation_id).state is State.UNKNOWN


def test_claimers_at_the_same_time_never_both_get_a_patient(ledger: SqlLedger):
    ledger.record([intent(f"w{n}", patient=f"p{n % 40}") for n in range(400)])
    working: set[str] = set()
    finished: list[str] = []
    collisions: list[str] = []
    guard = threading.Lock()

    def work() -> None:
        while operations := ledger.claim("north-epic", 5, LEASE_S):
            patients = {op.intent.patient_id for op in operations}
            with guard:
                collisions.extend(patients & working)
                working.update(patients)
            with guard:
                working.difference_update(patients)
                finished.extend(op.intent.source.event_id for op in operations)
            settle(operations)

    def settle(operations: list) -> None:
        ledger.settle({op.operation_id: done(fence=op.fence) for op in operations})

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    work()
    assert collisions == []
    assert len(finished) == len(set(finished)) == 400
    assert ledger.states() == {"north-epic": {State.SUCCEEDED: 400}}
    by_patient: dict[int, list[int]] = {}
    for event in finished:
        by_patient.setdefault(int(event[1:]) % 40, []).append(int(event[1:]))
    assert all(order == sorted(order) for order in by_patient.values())


def test_recording_and_settling_one_patient_at_the_same_time_strands_no_operation(ledger: SqlLedger):
    def record() -> None:
        for n in range(150):
            ledger.record([intent(f"w{n}"), intent(f"x{n}", patient="q")])

    recorder = threading.Thread(target=record)
    recorder.start()
    while recorder.is_alive():
        ledger.settle({op.operation_id: done(fence=op.fence) for op in ledger.claim("north-epic", 9, LEASE_S)})
    recorder.join()
    while operations := ledger.claim("north-epic", 9, LEASE_S):
        ledger.settle({op.operation_id: done(fence=op.fence) for op in operations})
    assert ledger.states() == {"north-epic": {State.SUCCEEDED: 300}}
