"""What may have been written stays in doubt: every database, and the ledger in memory that other tests rest on."""

from collections.abc import Iterator

import pytest

from adapters.ledger import SqlLedger, migrate
from schemas.operation import Operation, State
from tests.doubles.ledgers import LEASE_S, HandClock, done, intent, ledger_at
from tests.doubles.memory_ledger import MemoryLedger

AnyLedger = SqlLedger | MemoryLedger


@pytest.fixture(params=["stored", "in memory"])
def ledger(request: pytest.FixtureRequest, database_url: str) -> Iterator[AnyLedger]:
    if request.param == "in memory":
        yield MemoryLedger()
        return
    migrate(database_url)
    opened = ledger_at(database_url, HandClock())
    yield opened
    opened.close()


def claim(ledger: AnyLedger) -> Operation:
    (operation,) = ledger.claim("north-epic", 1, LEASE_S)
    return operation


def held(ledger: AnyLedger, code: str | None, *, in_doubt: bool) -> Operation:
    ledger.record([intent("w1")])
    taken = claim(ledger)
    ledger.settle({taken.operation_id: done(State.HELD, fence=taken.fence, code=code, in_doubt=in_doubt)})
    operation = ledger.operation(taken.operation_id)
    assert operation is not None
    assert (operation.state, operation.in_doubt) == (State.HELD, in_doubt)
    return operation


@pytest.mark.parametrize(
    ("code", "in_doubt", "state"),
    [
        ("forbidden", False, State.PENDING),
        ("forbidden", True, State.UNKNOWN),
        ("internal_error", True, State.UNKNOWN),
        ("found_different", True, State.UNKNOWN),
        (None, True, State.UNKNOWN),
        (None, False, State.PENDING),
        ("absent", True, State.PENDING),
    ],
)
def test_a_release_sends_only_what_cannot_have_been_written_or_was_searched_for_in_vain(
    ledger: AnyLedger, code: str | None, in_doubt: bool, state: State
) -> None:
    before = held(ledger, code, in_doubt=in_doubt)
    assert ledger.release([before.operation_id, "no such operation"]) == [before.operation_id]
    assert ledger.states() == {"north-epic": {state: 1}}
    released = ledger.operation(before.operation_id)
    assert released is not None
    assert (released.code, released.fence, released.in_doubt) == (None, before.fence + 1, in_doubt)
    again = claim(ledger)
    assert again.state is (State.IN_PROGRESS if state is State.PENDING else State.UNKNOWN)
    assert again.in_doubt is in_doubt


def test_an_operation_once_in_doubt_stays_in_doubt_through_every_later_outcome(ledger: AnyLedger) -> None:
    before = held(ledger, "forbidden", in_doubt=True)
    ledger.release([before.operation_id])
    taken = claim(ledger)
    ledger.settle({taken.operation_id: done(State.DEFERRED, fence=taken.fence, code="absent_resend")})
    again = claim(ledger)
    assert (again.state, again.in_doubt) == (State.IN_PROGRESS, True)
    assert not ledger.readdress(again.operation_id, again.fence, again.intent)
