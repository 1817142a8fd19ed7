"""A worker takes a ledger up: it knows the one that was left, and puts in doubt one that went back."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from adapters.ledger import SqlLedger, takeover
from adapters.ledger.engine import connect
from adapters.ledger.tables import ledger_identity
from schemas.audit import AuditEvent, Step
from schemas.operation import State
from schemas.ports.kafka import GroupPosition, Position
from schemas.ports.ledger import OutboxEntries
from streams.audit.verification import broken_links
from tests.doubles.ledgers import LEASE_S, NOW, HandClock, audited, done, intent, ledger_at

WINDOWS = "vitals.windows"
QUIET_S = 240.0
TOLD = OutboxEntries("delivery", [Step("north", "ledger.went_back", "failure")])


def at(offset: int, partition: int = 0) -> Position:
    return Position(WINDOWS, partition, offset)


def take_over(ledger: SqlLedger, committed: int | None, end: int | None = None) -> bool:
    return ledger.take_over(
        WINDOWS, {0: GroupPosition(committed, end if end is not None else committed or 1)}, QUIET_S, TOLD
    )


def exchange(database_url: str) -> None:
    """As if the database were another than it was."""
    engine = connect(database_url)
    with engine.begin() as db:
        db.execute(ledger_identity.update().values(identity="another"))
    engine.dispose()


def in_every_state(ledger: SqlLedger) -> dict[State, str]:
    """An operation of each state, each of another patient."""
    wanted = [state for state in State if state not in (State.PENDING, State.IN_PROGRESS)]
    ledger.record([intent(state, patient=state) for state in wanted])
    ids = {State(one.intent.source.event_id): one for one in ledger.claim("north-epic", 20, LEASE_S)}
    for state, one in ids.items():
        ledger.settle({one.operation_id: done(state, fence=one.fence, code="before", retry_after_s=5)})
    ledger.record([intent(State.IN_PROGRESS, patient="in progress")])
    (under_way,) = ledger.claim("north-epic", 1, LEASE_S)
    (pending,) = ledger.record([intent(State.PENDING, patient="pending")])
    named = {state: one.operation_id for state, one in ids.items()}
    return named | {State.IN_PROGRESS: under_way.operation_id, State.PENDING: pending.operation_id}


def test_a_ledger_that_is_the_one_that_was_left_stays_as_it_is(ledger: SqlLedger):
    assert not take_over(ledger, None)
    ledger.record([intent("w1")], at(7))
    assert not take_over(ledger, 7, 9)
    assert ledger.states() == {"north-epic": {State.PENDING: 1}}
    assert ledger.positions(WINDOWS) == {0: 7}


def test_in_an_exchanged_database_every_operation_that_is_not_terminal_is_unknown_and_in_doubt(
    ledger: SqlLedger, database_url: str, clock: HandClock
):
    ids = in_every_state(ledger)
    take_over(ledger, None)
    before = {state: ledger.operation(one) for state, one in ids.items()}
    exchange(database_url)

    assert take_over(ledger, None)

    ended = {State.SUCCEEDED, State.FAILED, State.QUARANTINED}
    for state, one in ids.items():
        kept = ledger.operation(one)
        if state in ended:
            assert kept == before[state]
            continue
        assert (kept.state, kept.in_doubt, kept.code) == (State.UNKNOWN, True, "ledger_went_back"), state
        assert kept.fence == before[state].fence + 1
        assert (ledger.attempts(one)[-1].state, ledger.attempts(one)[-1].code) == (state, "ledger_went_back")
    assert ledger.claim("north-epic", 20, LEASE_S) == []
    clock.now = NOW + timedelta(seconds=QUIET_S)
    claimed = ledger.claim("north-epic", 20, LEASE_S)
    assert {one.operation_id for one in claimed} == {one for state, one in ids.items() if state not in ended}
    assert {(one.state, one.in_doubt) for one in claimed} == {(State.UNKNOWN, True)}


def test_the_outcome_of_a_worker_from_before_the_loss_is_only_evidence(ledger: SqlLedger, database_url: str):
    ledger.record([intent("w1")])
    take_over(ledger, None)
    (under_way,) = ledger.claim("north-epic", 1, LEASE_S)
    exchange(database_url)
    take_over(ledger, None)
    assert ledger.settle({under_way.operation_id: done(fence=under_way.fence)}) == [under_way.operation_id]
    assert ledger.operation(under_way.operation_id).state is State.UNKNOWN


def test_a_committed_offset_that_the_ledger_does_not_know_shows_that_it_went_back(ledger: SqlLedger):
    take_over(ledger, None)
    ledger.record([intent("w1")], at(7))
    assert take_over(ledger, 20, 30)
    assert ledger.states() == {"north-epic": {State.UNKNOWN: 1}}
    assert ledger.positions(WINDOWS) == {0: 7}


def test_what_is_read_again_is_recorded_in_doubt_until_all_that_may_have_been_sent_was_read(
    ledger: SqlLedger, clock: HandClock
):
    take_over(ledger, None)
    ledger.record([intent("w1")], at(7))
    take_over(ledger, 20, 30)
    ledger.record([intent("lost", patient="a"), intent("w1")], at(25))
    ledger.record([intent("committed by nobody", patient="b")], at(30))
    ledger.record([intent("new", patient="c")], at(31))
    assert [one.intent.source.event_id for one in ledger.claim("north-epic", 9, LEASE_S)] == ["new"]
    clock.now = NOW + timedelta(seconds=QUIET_S)
    again = {one.intent.source.event_id: one for one in ledger.claim("north-epic", 9, LEASE_S)}
    for event in ("w1", "lost", "committed by nobody"):
        assert (again[event].state, again[event].in_doubt) == (State.UNKNOWN, True), event
    assert not any(one.in_doubt for one in ledger.find(endpoint="north-epic", state=State.IN_PROGRESS, limit=9))


def test_the_same_loss_is_found_once_however_many_workers_start_and_stop_while_it_is_read_again(ledger: SqlLedger):
    take_over(ledger, None)
    ledger.record([intent("w1")], at(7))
    assert take_over(ledger, 20, 30)
    (new,) = ledger.record([intent("w2", patient="b")], at(12))
    assert not take_over(ledger, 20, 40)
    assert not take_over(ledger, 12, 40)
    assert ledger.operation(new.operation_id).code is None


def test_workers_that_start_at_once_find_one_loss(ledger: SqlLedger, database_url: str, clock: HandClock):
    ledger.record([intent("w1")])
    take_over(ledger, None)
    exchange(database_url)
    others = [ledger_at(database_url, clock) for _ in range(4)]
    threads = [threading.Thread(target=take_over, args=(other, None)) for other in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (recorded,) = ledger.find(limit=9)
    assert [attempt.code for attempt in ledger.attempts(recorded.operation_id)] == ["ledger_went_back"]
    for other in others:
        other.close()


def test_a_crash_in_the_middle_of_it_leaves_the_loss_to_be_found_again(
    ledger: SqlLedger, database_url: str, monkeypatch: pytest.MonkeyPatch
):
    ledger.record([intent("w1")])
    take_over(ledger, None)
    exchange(database_url)
    whole = takeover.put_in_doubt

    def then_die(*given: object) -> None:
        whole(*given)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    monkeypatch.setattr(takeover, "put_in_doubt", then_die)
    with pytest.raises(KeyboardInterrupt):
        take_over(ledger, None)
    assert ledger.states() == {"north-epic": {State.PENDING: 1}}
    monkeypatch.undo()
    assert take_over(ledger, None)
    assert ledger.states() == {"north-epic": {State.UNKNOWN: 1}}


def test_a_loss_is_audited_with_it_and_once_in_a_chain_that_the_lost_ledger_cannot_have_begun(
    ledger: SqlLedger, database_url: str
):
    take_over(ledger, None)
    ledger.record([], at(1), lambda _: TOLD)
    exchange(database_url)
    assert take_over(ledger, None)
    assert not take_over(ledger, None)
    records = ledger.lease_outbox("test", 9, 60.0)
    before, event = [AuditEvent.model_validate_json(queued.record.value or b"") for queued in records]
    assert (event.action, event.previous) == ("ledger.went_back", None)
    assert event.writer != before.writer
    assert broken_links([before, event]) == []


def test_an_empty_ledger_where_offsets_were_committed_has_lost_everything(ledger: SqlLedger):
    assert take_over(ledger, 20, 30)
    assert ledger.positions(WINDOWS) == {0: 0}
    (again,) = ledger.record([intent("w1")], at(10))
    assert ledger.operation(again.operation_id).in_doubt


def test_a_ledger_of_the_previous_version_begins_at_the_committed_offsets(ledger: SqlLedger):
    ledger.record([intent("w1")])
    assert not take_over(ledger, 20, 30)
    assert ledger.positions(WINDOWS) == {0: 20}
    assert ledger.states() == {"north-epic": {State.PENDING: 1}}


def test_a_recreated_topic_counts_no_reading_as_lost(ledger: SqlLedger):
    take_over(ledger, None)
    ledger.record([intent("w1")], at(700))
    assert not take_over(ledger, None, 3)
    ledger.record([intent("w2")], at(3))
    assert ledger.positions(WINDOWS) == {0: 3}


def test_a_position_never_moves_back_and_is_kept_where_nothing_was_recorded(ledger: SqlLedger):
    ledger.record([], at(5))
    ledger.record([], at(4))
    ledger.record([intent("w1")], at(2, partition=1))
    assert ledger.positions(WINDOWS) == {0: 5, 1: 2}
    assert ledger.positions("another") == {}


def gone(ledger: SqlLedger, end: int, since: int = 0) -> int:
    def entries(first: int) -> OutboxEntries:
        return OutboxEntries(
            "clinical", [Step("north", "windows.removed_unread", "failure", source=f"{first}-{end - 1}")]
        )

    return ledger.count_removed(at(end), since, entries)


def test_what_retention_removed_is_counted_from_the_stored_position_on_and_once(ledger: SqlLedger) -> None:
    ledger.record([], at(4))
    assert [gone(ledger, 9), gone(ledger, 9), gone(ledger, 7), gone(ledger, 12, since=11)] == [5, 0, 0, 3]
    assert ledger.positions(WINDOWS) == {0: 12}
    assert ledger.removed_unread(WINDOWS) == {0: 8}
    assert [event.source for event in audited(ledger)] == ["4-8", "9-11"]
    ledger.record([], at(20))
    assert ledger.removed_unread(WINDOWS) == {0: 8}


def test_without_a_stored_position_what_retention_removed_is_counted_from_what_was_committed_on(
    ledger: SqlLedger,
) -> None:
    assert gone(ledger, 9, since=9) == 0
    assert gone(ledger, 12, since=2) == 3
    assert ledger.removed_unread(WINDOWS) == {0: 3}


def test_two_workers_that_find_the_same_gap_count_it_once(ledger: SqlLedger) -> None:
    with ThreadPoolExecutor(8) as workers:
        counted = list(workers.map(lambda n: gone(ledger, 5 + n % 2), range(16)))
    assert sum(counted) == 6
    assert ledger.removed_unread(WINDOWS) == {0: 6}
