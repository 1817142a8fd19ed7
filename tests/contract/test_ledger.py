"""Recording intents and settling operations, on every database: what `schemas.ports.ledger.Ledger` promises."""

from datetime import timedelta

from adapters.ledger import SqlLedger
from schemas.operation import State
from tests.doubles.ledgers import LATER, LEASE_S, NOW, HandClock, claimed_events, done, intent, reported_windows


def test_an_intent_is_kept_as_it_was_given(ledger: SqlLedger):
    given = intent("w1", sources=2)
    (recorded,) = ledger.record([given])
    kept = ledger.operation(recorded.operation_id)
    assert kept is not None
    assert kept.intent == given
    assert (kept.state, kept.attempts, kept.created_at, kept.amends) == (State.PENDING, 0, NOW, None)


def test_the_same_intent_again_is_a_duplicate_with_the_same_operation(ledger: SqlLedger):
    (first,) = ledger.record([intent("w1")])
    (again,) = ledger.record([intent("w1")])
    assert (again.duplicate, again.operation_id) == (True, first.operation_id)
    assert ledger.states() == {"north-epic": {State.PENDING: 1}}


def test_a_duplicate_returns_the_current_state_of_its_operation(ledger: SqlLedger):
    (first,) = ledger.record([intent("w1")])
    ledger.claim("north-epic", 1, LEASE_S)
    ledger.settle({first.operation_id: done()})
    assert ledger.record([intent("w1")])[0].state is State.SUCCEEDED


def test_the_same_intent_twice_in_one_batch_is_recorded_once(ledger: SqlLedger):
    first, second = ledger.record([intent("w1"), intent("w1")])
    assert (first.duplicate, second.duplicate) == (False, True)
    assert ledger.states() == {"north-epic": {State.PENDING: 1}}


def test_new_content_of_a_source_event_amends_the_latest_write_of_it(ledger: SqlLedger):
    (first,) = ledger.record([intent("w1")])
    (second,) = ledger.record([intent("w1", content="c2")])
    (third,) = ledger.record([intent("w1", content="c3")])
    assert (first.amends, second.amends, third.amends) == (None, first.operation_id, second.operation_id)
    assert ledger.operation(third.operation_id).amends == second.operation_id


def test_amendments_within_one_batch_are_found(ledger: SqlLedger):
    first, second = ledger.record([intent("w1"), intent("w1", content="c2")])
    assert second.amends == first.operation_id


def test_another_endpoint_is_another_operation(ledger: SqlLedger):
    first, second = ledger.record([intent("w1"), intent("w1", endpoint="north-fhir")])
    assert not second.duplicate
    assert second.amends is None
    assert first.operation_id != second.operation_id


def test_what_is_terminal_stays_so_whatever_a_late_worker_says(ledger: SqlLedger, clock: HandClock):
    (first,) = ledger.record([intent("w1")])
    ledger.claim("north-epic", 1, LEASE_S)
    ledger.settle({first.operation_id: done(resource_id="o-1")})
    clock.now = LATER
    ledger.settle({first.operation_id: done(State.DEFERRED, retry_after_s=1)})
    kept = ledger.operation(first.operation_id)
    assert (kept.state, kept.resource_id, kept.settled_at) == (State.SUCCEEDED, "o-1", NOW)
    clock.now += timedelta(days=1)
    assert claimed_events(ledger) == []


def test_an_outcome_is_written_with_its_evidence(ledger: SqlLedger, clock: HandClock):
    (first,) = ledger.record([intent("w1")])
    ledger.claim("north-epic", 1, LEASE_S)
    failed = done(State.DEFERRED, http_status=503, code="busy", request=b"sent", response=b"later", retry_after_s=61)
    ledger.settle({first.operation_id: failed})
    clock.now = LATER
    ledger.claim("north-epic", 1, LEASE_S)
    charted = done(fence=2, http_status=201, resource_id="o-1", version="1", request=b"sent again", response=b"")
    ledger.settle({first.operation_id: charted})
    kept = ledger.operation(first.operation_id)
    assert (kept.http_status, kept.resource_id, kept.version, kept.settled_at) == (201, "o-1", "1", LATER)
    assert [(a.attempt, a.state, a.http_status, a.code, a.request, a.response) for a in ledger.attempts(first[0])] == [
        (1, State.DEFERRED, 503, "busy", b"sent", b"later"),
        (2, State.SUCCEEDED, 201, None, b"sent again", b""),
    ]


def test_the_resource_id_found_once_is_not_lost_by_a_later_outcome_without_one(ledger: SqlLedger):
    (first,) = ledger.record([intent("w1")])
    ledger.claim("north-epic", 1, LEASE_S)
    ledger.settle({first.operation_id: done(State.UNKNOWN, resource_id="o-1")})
    ledger.claim("north-epic", 1, LEASE_S)
    ledger.settle({first.operation_id: done(State.SUCCEEDED, fence=2)})
    kept = ledger.operation(first.operation_id)
    assert (kept.state, kept.resource_id) == (State.SUCCEEDED, "o-1")


def test_an_operation_nobody_recorded_is_none_and_settling_it_changes_nothing(ledger: SqlLedger):
    ledger.settle({"nothing": done()})
    assert ledger.operation("nothing") is None
    assert ledger.states() == {}


def test_every_window_in_an_intent_is_known(ledger: SqlLedger):
    ledger.record([intent("w1", sources=2), intent("w2")])
    assert reported_windows(ledger) == {"w1-0", "w1-1", "w2-0"}


def test_thousands_of_intents_go_in_with_one_call(ledger: SqlLedger):
    recorded = ledger.record([intent(f"w{n}", patient=f"p{n % 1500}") for n in range(2500)])
    assert len({entry.operation_id for entry in recorded}) == 2500
    assert len(ledger.claim("north-epic", 5000, LEASE_S)) == 1500
