"""Releasing held operations, and finding them."""

import pytest

from adapters.ledger import SqlLedger
from schemas.operation import State
from tests.doubles.ledgers import LATER, LEASE_S, HandClock, claimed_events, done, intent


def held(ledger: SqlLedger, event: str, *, patient: str = "p-9", code: str = "forbidden") -> str:
    ledger.record([intent(event, patient=patient)])
    (operation,) = ledger.claim("north-epic", 1, LEASE_S)
    ledger.settle({operation.operation_id: done(State.HELD, code=code, message="m", http_status=403)})
    return operation.operation_id


def test_a_released_operation_is_pending_again_without_its_error_and_can_be_claimed(ledger: SqlLedger):
    operation_id = held(ledger, "w1")
    assert claimed_events(ledger) == []

    assert ledger.release([operation_id]) == [operation_id]

    kept = ledger.operation(operation_id)
    assert kept is not None
    assert (kept.state, kept.code, kept.message, kept.http_status) == (State.PENDING, None, None, None)
    (claimed,) = ledger.claim("north-epic", 1, LEASE_S)
    assert (claimed.operation_id, claimed.state, claimed.attempts) == (operation_id, State.IN_PROGRESS, 2)
    evidence = [(attempt.attempt, attempt.state, attempt.code) for attempt in ledger.attempts(operation_id)]
    assert evidence == [(1, State.HELD, "forbidden"), (1, State.PENDING, "released")]


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED, State.QUARANTINED, State.DEFERRED, State.UNKNOWN])
def test_what_is_not_held_is_not_released(ledger: SqlLedger, state: State):
    (recorded,) = ledger.record([intent("w1")])
    ledger.claim("north-epic", 1, LEASE_S)
    ledger.settle({recorded.operation_id: done(state, retry_after_s=61)})
    before = ledger.operation(recorded.operation_id)

    assert ledger.release([recorded.operation_id, "no-such-operation"]) == []

    assert ledger.operation(recorded.operation_id) == before
    assert len(ledger.attempts(recorded.operation_id)) == 1


def test_a_released_operation_waits_for_the_same_patients_write_under_way(ledger: SqlLedger, clock: HandClock):
    operation_id = held(ledger, "w1")
    ledger.record([intent("w2")])
    (under_way,) = ledger.claim("north-epic", 1, LEASE_S)

    ledger.release([operation_id])

    assert claimed_events(ledger) == []
    ledger.settle({under_way.operation_id: done()})
    clock.now = LATER
    assert claimed_events(ledger) == ["w1"]


def test_released_results_of_a_patient_are_taken_in_their_order(ledger: SqlLedger):
    ids = [held(ledger, event) for event in ("w1", "w2")]
    assert ledger.release(ids[::-1]) == sorted(ids)
    (first,) = ledger.claim("north-epic", 5, LEASE_S)
    assert first.operation_id == ids[0]


def test_operations_are_found_by_endpoint_state_and_code_the_earliest_first(ledger: SqlLedger):
    ids = [
        held(ledger, f"w{n}", patient=f"p-{n}", code=code) for n, code in enumerate(("absent", "settings", "absent"))
    ]
    ledger.record([intent("other", endpoint="north-fhir")])

    def found(limit: int = 10, **asked: object) -> list[str]:
        return [operation.operation_id for operation in ledger.find(limit=limit, **asked)]  # type: ignore[arg-type]

    assert found(state=State.HELD) == ids
    assert found(state=State.HELD, code="absent") == [ids[0], ids[2]]
    assert found(limit=1, endpoint="north-epic") == [ids[0]]
    assert found(endpoint="north-fhir", state=State.HELD) == []
    assert len(found()) == 4
