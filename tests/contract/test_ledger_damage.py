"""One damaged row, or one hostile answer, holds its own operation and nothing else."""

import pytest
from sqlalchemy import text

from adapters.ledger import SqlLedger, rows
from adapters.ledger.engine import connect
from schemas.operation import State
from tests.doubles.ledgers import LEASE_S, done, intent, reported_windows

HOSTILE = "a\0b\ud800"


def damage(database_url: str, operation_id: str, content: bytes) -> None:
    engine = connect(database_url)
    with engine.begin() as db:
        wanted = {"content": content, "id": operation_id}
        db.execute(text("UPDATE operations SET intent = :content WHERE operation_id = :id"), wanted)
    engine.dispose()


@pytest.mark.parametrize("content", [b"", b"\x00", b"\x01", b"\x01" + bytes(40), b"\x00plain"])
def test_a_row_that_cannot_be_decrypted_is_held_alone_and_all_others_go_on(
    ledger: SqlLedger, database_url: str, content: bytes
):
    given = [intent("w1", patient="a"), intent("w2", patient="a"), intent("w3", patient="b")]
    elsewhere = intent("w4", endpoint="north-fhir")
    first, second, third, fourth = (one.operation_id for one in ledger.record([*given, elsewhere]))
    damage(database_url, first, content)

    claimed = {one.operation_id: one.state for one in ledger.claim("north-epic", 10, LEASE_S)}
    assert claimed == {first: State.HELD, third: State.IN_PROGRESS}
    assert [one.operation_id for one in ledger.claim("north-epic", 10, LEASE_S)] == [second]
    assert [one.operation_id for one in ledger.claim("north-fhir", 10, LEASE_S)] == [fourth]
    shown = ledger.operation(first)
    assert (shown.state, shown.code, shown.intent.endpoint) == (State.HELD, "unreadable", "north-epic")
    assert [one.operation_id for one in ledger.find(state=State.HELD, code="unreadable", limit=9)] == [first]
    assert [one.code for one in ledger.attempts(first)] == ["unreadable"]
    assert reported_windows(ledger) == {"w1-0", "w2-0", "w3-0", "w4-0"}


def test_a_damaged_row_that_is_released_is_held_again_and_never_given_to_be_sent(ledger: SqlLedger, database_url: str):
    (recorded,) = ledger.record([intent("w1")])
    damage(database_url, recorded.operation_id, b"\x01damaged")
    for _ in range(2):
        assert [one.state for one in ledger.claim("north-epic", 10, LEASE_S)] == [State.HELD]
        assert ledger.release([recorded.operation_id]) == [recorded.operation_id]


def test_evidence_that_cannot_be_decrypted_is_shown_without_its_content(ledger: SqlLedger, database_url: str):
    ledger.record([intent("w1")])
    (operation,) = ledger.claim("north-epic", 1, LEASE_S)
    ledger.settle({operation.operation_id: done(fence=operation.fence, http_status=201, request=b"sent")})
    engine = connect(database_url)
    with engine.begin() as db:
        db.execute(text("UPDATE attempts SET request = :damaged"), {"damaged": b"\x01damaged"})
    engine.dispose()
    assert [(one.http_status, one.request) for one in ledger.attempts(operation.operation_id)] == [(201, None)]


@pytest.mark.parametrize(
    "hostile",
    [
        {"version": HOSTILE},
        {"resource_id": HOSTILE},
        {"code": HOSTILE, "message": HOSTILE},
        {"http_status": 10**12},
        {"retry_after_s": 1e300},
        {"retry_after_s": float("nan")},
    ],
)
def test_what_an_ehr_answers_is_stored_whatever_it_holds(ledger: SqlLedger, hostile: dict[str, object]):
    ledger.record([intent("w1", patient="a"), intent("w2", patient="b")])
    one, two = ledger.claim("north-epic", 2, LEASE_S)
    outcomes = {
        one.operation_id: done(State.DEFERRED, fence=one.fence, **hostile),
        two.operation_id: done(fence=two.fence),
    }
    assert ledger.settle(outcomes) == []
    assert ledger.states() == {"north-epic": {State.DEFERRED: 1, State.SUCCEEDED: 1}}


def test_an_outcome_the_database_refuses_holds_its_own_operation_in_doubt(
    ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(rows, "storable", lambda given: given)
    ledger.record([intent("w1", patient="a"), intent("w2", patient="b")])
    one, two = ledger.claim("north-epic", 2, LEASE_S)
    outcomes = {
        one.operation_id: done(fence=one.fence, version="\ud800"),
        two.operation_id: done(fence=two.fence, version="1"),
    }
    assert ledger.settle(outcomes) == []
    held = ledger.operation(one.operation_id)
    assert (held.state, held.code, held.in_doubt) == (State.HELD, "unstorable_answer", True)
    assert ledger.operation(two.operation_id).state is State.SUCCEEDED


def test_an_intent_with_characters_that_a_database_refuses_is_recorded(ledger: SqlLedger):
    ledger.record([intent("w\0"), intent("w2")])
    assert ledger.states() == {"north-epic": {State.PENDING: 2}}
