"""The ledger's counts are put right when a worker that notes no differences changed operations beside it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from sqlalchemy import text

from adapters.ledger import SqlLedger, migrate
from adapters.ledger.engine import connect
from schemas.config import LedgerKeeping
from schemas.operation import State
from tests.doubles.ledgers import LEASE_S, HandClock, done, intent, ledger_at


def settle_as_a_worker_of_before(url: str, state: State) -> None:
    """Everything that is pending ends in a state, and no difference is noted."""
    engine = connect(url)
    with engine.begin() as db:
        db.execute(
            text("UPDATE operations SET state = :state, due_us = NULL WHERE state = 'pending'"), {"state": state}
        )
        db.execute(text("UPDATE ordering_keys SET head = NULL, due_us = NULL"))
    engine.dispose()


def record(ledger: SqlLedger, *numbers: int) -> None:
    ledger.record([intent(f"w{n}", patient=f"p{n}") for n in numbers])


def test_operations_settled_by_a_worker_of_an_earlier_version_are_counted_from_the_next_start(
    ledger: SqlLedger, database_url: str
):
    record(ledger, *range(30))
    settle_as_a_worker_of_before(database_url, State.HELD)
    assert ledger.states() == {"north-epic": {State.PENDING: 30}}

    ledger.purge_expired(LedgerKeeping())
    assert ledger.states() == {"north-epic": {State.HELD: 30}}


def test_operations_settled_later_by_a_worker_of_an_earlier_version_are_counted_within_fifteen_minutes(
    ledger: SqlLedger, database_url: str, clock: HandClock
):
    record(ledger, *range(30))
    ledger.purge_expired(LedgerKeeping())
    settle_as_a_worker_of_before(database_url, State.HELD)

    ledger.purge_expired(LedgerKeeping())
    assert ledger.states() == {"north-epic": {State.PENDING: 30}}
    clock.now += timedelta(minutes=15)
    ledger.purge_expired(LedgerKeeping())
    assert ledger.states() == {"north-epic": {State.HELD: 30}}


def test_counts_are_exact_where_workers_recount_while_others_settle(database_url: str, clock: HandClock):
    migrate(database_url)
    workers = [ledger_at(database_url, clock) for _ in range(4)]
    record(workers[0], *range(60))
    settle_as_a_worker_of_before(database_url, State.HELD)
    record(workers[0], *range(60, 120))

    def work(number: int) -> None:
        if number % 3 == 0:
            starting = ledger_at(database_url, clock)
            starting.purge_expired(LedgerKeeping())
            starting.close()
            return
        ledger = workers[number % 4]
        taken = ledger.claim("north-epic", 3, LEASE_S)
        ledger.settle({one.operation_id: done(fence=one.fence) for one in taken})

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(work, range(30)))
    assert workers[0].states() == {"north-epic": {State.HELD: 60, State.SUCCEEDED: 60}}
    for worker in workers:
        worker.close()
