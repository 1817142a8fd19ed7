"""The ledger forgets what is old enough, and tells its states without counting its operations."""

from datetime import timedelta

import pytest
from sqlalchemy import event, text

from adapters.ledger import SqlLedger
from adapters.ledger.engine import connect
from schemas.config import LedgerKeeping
from schemas.operation import State
from tests.doubles.ledgers import LEASE_S, HandClock, done, intent

KEEPING = LedgerKeeping.model_validate({"keep_evidence": "90d", "keep_operations": "400d"})


def settled(ledger: SqlLedger, event: str, state: State, patient: str) -> str:
    ledger.record([intent(event, patient=patient)])
    (operation,) = ledger.claim("north-epic", 1, LEASE_S)
    outcome = done(state, fence=operation.fence, request=b"sent", retry_after_s=86_400)
    ledger.settle({operation.operation_id: outcome})
    return operation.operation_id


def rows(url: str, table: str) -> int:
    engine = connect(url)
    with engine.connect() as db:
        count = int(db.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())
    engine.dispose()
    return count


def test_what_ended_is_forgotten_when_it_is_old_and_what_is_open_never(
    ledger: SqlLedger, clock: HandClock, database_url: str
):
    charted = settled(ledger, "w1", State.SUCCEEDED, "a")
    held = settled(ledger, "w2", State.HELD, "b")
    waiting = settled(ledger, "w3", State.UNKNOWN, "c")

    clock.now += timedelta(days=90)
    assert not ledger.purge_expired(KEEPING)
    assert len(ledger.attempts(charted)) == 1
    clock.now += timedelta(seconds=1)
    ledger.purge_expired(KEEPING)
    assert [len(ledger.attempts(one)) for one in (charted, held, waiting)] == [0, 1, 1]
    assert ledger.record([intent("w1", patient="a")])[0].duplicate

    clock.now += timedelta(days=310)
    ledger.purge_expired(KEEPING)
    assert ledger.operation(charted) is None
    assert ledger.states() == {"north-epic": {State.HELD: 1, State.UNKNOWN: 1}}
    assert (rows(database_url, "operations"), rows(database_url, "ordering_keys")) == (2, 2)


@pytest.mark.parametrize("state", [State.HELD, State.DEFERRED, State.UNKNOWN])
def test_what_was_charted_is_kept_as_long_as_a_result_that_amends_it_waits(
    ledger: SqlLedger, clock: HandClock, state: State
):
    charted = settled(ledger, "w1", State.SUCCEEDED, "a")
    ledger.record([intent("w1", patient="a", content="c2")])
    (amendment,) = ledger.claim("north-epic", 1, LEASE_S)
    ledger.settle({amendment.operation_id: done(state, fence=amendment.fence, retry_after_s=60)})

    clock.now += timedelta(days=401)
    ledger.purge_expired(KEEPING)
    assert amendment.amends == charted
    assert ledger.operation(charted) is not None

    if state is State.HELD:
        ledger.release([amendment.operation_id])
    (amendment,) = ledger.claim("north-epic", 1, LEASE_S)
    ledger.settle({amendment.operation_id: done(fence=amendment.fence)})
    clock.now += timedelta(days=401)
    ledger.purge_expired(KEEPING)
    assert ledger.states() == {}


def test_an_event_is_forgotten_with_all_that_was_written_of_it_or_not_at_all(ledger: SqlLedger, clock: HandClock):
    charted = settled(ledger, "w1", State.SUCCEEDED, "a")
    clock.now += timedelta(days=300)
    ledger.record([intent("w1", patient="a", content="c2")])
    (refused,) = ledger.claim("north-epic", 1, LEASE_S)
    ledger.settle({refused.operation_id: done(State.FAILED, fence=refused.fence)})

    clock.now += timedelta(days=101)
    ledger.purge_expired(KEEPING)
    assert ledger.operation(charted) is not None
    clock.now += timedelta(days=300)
    ledger.purge_expired(KEEPING)
    assert ledger.states() == {}


def test_a_patient_whose_state_was_forgotten_starts_from_nothing(ledger: SqlLedger, clock: HandClock):
    settled(ledger, "w1", State.SUCCEEDED, "a")
    clock.now += timedelta(days=401)
    ledger.purge_expired(KEEPING)
    settled(ledger, "w2", State.SUCCEEDED, "a")
    assert ledger.states() == {"north-epic": {State.SUCCEEDED: 1}}


def test_much_is_forgotten_in_small_batches(ledger: SqlLedger, clock: HandClock):
    ledger.record([intent(f"w{n}", patient=f"p{n}") for n in range(1100)])
    operations = ledger.claim("north-epic", 2000, LEASE_S)
    ledger.settle({one.operation_id: done(fence=one.fence) for one in operations})
    clock.now += timedelta(days=401)
    assert [ledger.purge_expired(KEEPING) for _ in range(3)] == [True, True, False]
    assert ledger.states() == {}


def test_states_are_counted_without_reading_the_operations(ledger: SqlLedger):
    settled(ledger, "w1", State.SUCCEEDED, "a")
    asked: list[str] = []
    event.listen(ledger._engine, "before_cursor_execute", lambda _c, _k, statement, *_more: asked.append(statement))
    assert ledger.states() == {"north-epic": {State.SUCCEEDED: 1}}
    assert asked
    assert not [statement for statement in asked if "operations" in statement]


def test_many_changes_become_one_row_a_state(ledger: SqlLedger, database_url: str):
    for number in range(30):
        settled(ledger, f"w{number}", State.SUCCEEDED, f"p{number}")
    ledger.purge_expired(KEEPING)
    assert ledger.states() == {"north-epic": {State.SUCCEEDED: 30}}
    assert rows(database_url, "tallies") == 1
