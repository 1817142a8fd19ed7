"""Subscribers to the settlement of operations: called for every outcome that is written, and in its transaction."""

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import text

from adapters.ledger import SqlLedger, migrate, rows
from adapters.ledger.engine import connect
from schemas.audit import Step
from schemas.operation import Operation, Outcome, ReplyTo, State
from schemas.ports.kafka import Outgoing
from schemas.ports.ledger import OutboxEntries
from schemas.topics import CORRECTIONS
from tests.doubles.ledgers import KEY, LATER, LEASE_S, HandClock, audited, done, in_outbox, intent, ledger_at

REPLIES = CORRECTIONS
"""Stands for the topic of replies."""


def audit(operation: Operation, outcome: Outcome) -> OutboxEntries:
    step = Step("north", f"operation.{outcome.state}", "success", operation.operation_id, reason=outcome.code)
    return OutboxEntries("delivery", [step])


def reply(operation: Operation, outcome: Outcome) -> OutboxEntries:
    to = operation.intent.reply_to
    answer = [] if to is None else [Outgoing(REPLIES, to.command_id.encode(), str(outcome.state).encode())]
    return OutboxEntries("commands", records=answer)


@pytest.fixture
def ledger(database_url: str, clock: HandClock) -> Iterator[SqlLedger]:
    migrate(database_url)
    opened = ledger_at(database_url, clock, KEY, audit, reply)
    yield opened
    opened.close()


def claimed(ledger: SqlLedger, command: str | None = None) -> Operation:
    to = None if command is None else ReplyTo(command_id=command, topic="replies.vitals")
    ledger.record([intent(command or "w1").model_copy(update={"reply_to": to})])
    (operation,) = ledger.claim("north-epic", 1, LEASE_S)
    return operation


def replies(ledger: SqlLedger) -> list[tuple[bytes, bytes | None]]:
    return [(record.key, record.value) for record in in_outbox(ledger, REPLIES)]


def actions(ledger: SqlLedger) -> list[tuple[str, str | None, str | None]]:
    return [(event.action, event.operation_id, event.reason) for event in audited(ledger)]


@pytest.mark.parametrize("handed", [True, False])
def test_every_subscriber_adds_to_the_outbox_whether_the_operations_are_handed_over_or_read(
    ledger: SqlLedger, handed: bool
):
    operation = claimed(ledger, "c-1")
    ledger.settle({operation.operation_id: done()}, {operation.operation_id: operation} if handed else None)
    assert actions(ledger) == [("operation.succeeded", operation.operation_id, None)]
    assert replies(ledger) == [(b"c-1", b"succeeded")]


def test_an_operation_of_a_window_has_nobody_to_reply_to(ledger: SqlLedger):
    operation = claimed(ledger)
    ledger.settle({operation.operation_id: done()})
    assert len(actions(ledger)) == 1
    assert replies(ledger) == []


def test_a_repeated_and_a_stale_outcome_are_not_published(ledger: SqlLedger, clock: HandClock):
    first = claimed(ledger, "c-1")
    clock.now = LATER
    (second,) = ledger.claim("north-epic", 1, LEASE_S)
    for operation in (first, second, second):
        ledger.settle({operation.operation_id: done(fence=operation.fence)})
    assert replies(ledger) == [(b"c-1", b"succeeded")]


def test_an_outcome_that_cannot_be_stored_is_published_as_what_was_stored_instead(
    database_url: str, clock: HandClock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(rows, "storable", lambda given: given)
    migrate(database_url)
    seen: list[Outcome] = []

    def recording(operation: Operation, outcome: Outcome) -> OutboxEntries:
        seen.append(outcome)
        return audit(operation, outcome)

    ledger = ledger_at(database_url, clock, KEY, recording, reply)
    operation = claimed(ledger, "c-1")
    ledger.settle({operation.operation_id: done(version="\ud800")})
    assert [outcome.state for outcome in seen] == [State.HELD]
    assert actions(ledger) == [("operation.held", operation.operation_id, "unstorable_answer")]
    assert replies(ledger) == [(b"c-1", b"held")]
    ledger.close()


def test_an_operation_that_cannot_be_read_is_published_as_held(ledger: SqlLedger, database_url: str):
    (recorded,) = ledger.record([intent("w1")])
    engine = connect(database_url)
    with engine.begin() as db:
        db.execute(text("UPDATE operations SET intent = :damaged"), {"damaged": b"\x01damaged"})
    engine.dispose()
    assert [one.state for one in ledger.claim("north-epic", 1, LEASE_S)] == [State.HELD]
    assert actions(ledger) == [("operation.held", recorded.operation_id, "unreadable")]


@pytest.mark.parametrize("defect", [ZeroDivisionError(), ValueError("PHI"), OverflowError(), "\ud800".encode])
def test_a_subscriber_that_fails_leaves_the_operation_unsettled(
    database_url: str, clock: HandClock, defect: Exception | Callable[[], bytes]
):
    def fails(_operation: Operation, _outcome: Outcome) -> OutboxEntries:
        if isinstance(defect, Exception):
            raise defect
        defect()
        raise AssertionError

    migrate(database_url)
    ledger = ledger_at(database_url, clock, KEY, audit, fails)
    operation = claimed(ledger)
    with pytest.raises(RuntimeError, match=r"subscriber to settlements failed: \w+$"):
        ledger.settle({operation.operation_id: done()})
    assert actions(ledger) == []
    assert ledger.states() == {"north-epic": {State.IN_PROGRESS: 1}}
    ledger.close()


def test_a_release_publishes_the_order_and_the_next_settlement_is_published_again(ledger: SqlLedger):
    operation = claimed(ledger, "c-1")
    ledger.settle({operation.operation_id: done(State.HELD)})
    order = OutboxEntries("operator", [Step("north", "operation.release_ordered", "success")])
    assert ledger.release([operation.operation_id], {operation.operation_id: order}) == [operation.operation_id]
    (again,) = ledger.claim("north-epic", 1, LEASE_S)
    ledger.settle({again.operation_id: done(fence=again.fence)})
    assert [action for action, _, _ in actions(ledger)] == [
        "operation.held",
        "operation.release_ordered",
        "operation.succeeded",
    ]
    assert replies(ledger) == [(b"c-1", b"held"), (b"c-1", b"succeeded")]
