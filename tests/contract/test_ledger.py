"""One suite for every database the ledger knows: what `schemas.ports.Ledger` promises."""

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from adapters.ledger import SqlLedger, migrate, open_ledger
from adapters.ledger.engine import connect
from adapters.ledger.tables import metadata
from schemas.audit import Step
from schemas.errors import Misconfigured, RetryLater
from schemas.operation import State
from schemas.ports.kafka import Outgoing, Position
from schemas.ports.ledger import Beside
from schemas.topics import CORRECTIONS
from tests.doubles.ledgers import KEY, LATER, LEASE_S, NOW, HandClock, done, intent, ledger_at


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def ledger(database_url: str, clock: HandClock) -> Iterator[SqlLedger]:
    migrate(database_url)
    opened = ledger_at(database_url, clock)
    yield opened
    opened.close()


def claimed_events(ledger: SqlLedger, limit: int = 100) -> list[str]:
    return [op.intent.source.event_id for op in ledger.claim("north-epic", limit, LEASE_S)]


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


def test_a_duplicate_tells_the_state_its_operation_has_now(ledger: SqlLedger):
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
    assert ledger.source_ids() == {"w1-0", "w1-1", "w2-0"}


def test_thousands_of_intents_go_in_with_one_call(ledger: SqlLedger):
    recorded = ledger.record([intent(f"w{n}", patient=f"p{n % 1500}") for n in range(2500)])
    assert len({entry.operation_id for entry in recorded}) == 2500
    assert len(ledger.claim("north-epic", 5000, LEASE_S)) == 1500


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


def test_no_column_holds_what_was_sent_or_the_patient_in_the_clear(ledger: SqlLedger, database_url: str):
    (first,) = ledger.record([intent("w1", patient="PATIENT-CANARY")], Position("vitals.windows", 0, 1))
    ledger.claim("north-epic", 1, LEASE_S)
    ledger.mark_reviewed("pairing", {ledger.name("PATIENT-CANARY"): ledger.name("CANARY")})
    going = Beside("delivery", [Step("north", "charted", "success")], [Outgoing(CORRECTIONS, b"CANARY", b"CANARY")])
    outcome = done(request=b"CANARY", response=b"CANARY")
    ledger.settle({first.operation_id: outcome}, {first.operation_id: going})
    assert ledger.outbox("a worker", 9, LEASE_S)
    with connect(database_url).connect() as db:
        for table in metadata.tables:
            rows = db.execute(text(f"SELECT * FROM {table}")).all()
            assert rows or table == "alembic_version"
            assert "CANARY" not in repr(rows), table


def test_sealed_content_moved_to_another_operation_is_not_read_as_that_ones(ledger: SqlLedger, database_url: str):
    first, second = ledger.record([intent("w1"), intent("w2")])
    engine = connect(database_url)
    with engine.begin() as db:
        db.execute(
            text(
                "UPDATE operations SET intent = (SELECT intent FROM operations WHERE operation_id = :a)"
                " WHERE operation_id = :b"
            ),
            {"a": first.operation_id, "b": second.operation_id},
        )
    engine.dispose()
    moved = ledger.operation(second.operation_id)
    assert (moved.code, moved.intent.payload, moved.intent.source.event_id) == ("unreadable", {}, "w2")


@pytest.mark.parametrize("other", [b"x" * 32, None])
def test_another_key_than_the_ledger_began_with_is_refused_at_once(
    ledger: SqlLedger, database_url: str, other: bytes | None
):
    with pytest.raises(Misconfigured, match="another encryption key"):
        open_ledger(database_url, other)


def test_a_ledger_without_a_key_works_as_well(database_url: str):
    migrate(database_url)
    plain = open_ledger(database_url, None)
    (first,) = plain.record([intent("w1")])
    assert plain.operation(first.operation_id).intent == intent("w1")
    plain.close()


def test_a_key_that_is_too_short_is_refused(database_url: str):
    with pytest.raises(Misconfigured, match="at least 32 bytes"):
        open_ledger(database_url, b"short")


def test_a_database_that_was_not_migrated_is_refused_with_what_to_do(database_url: str):
    with pytest.raises(Misconfigured, match="a clinical or delivery worker makes them"):
        open_ledger(database_url, KEY)


def test_migrating_twice_and_at_the_same_time_is_harmless(database_url: str):
    failures: list[Exception] = []

    def run() -> None:
        try:
            migrate(database_url)
        except RetryLater as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    open_ledger(database_url, KEY).close()


def test_the_migrations_make_the_tables_the_program_declares(database_url: str):
    migrate(database_url)
    engine = connect(database_url)
    with engine.connect() as db:
        assert compare_metadata(MigrationContext.configure(db), metadata) == []
    engine.dispose()


def held(ledger: SqlLedger, event: str, *, patient: str = "p-9", code: str = "forbidden") -> str:
    ledger.record([intent(event, patient=patient)])
    (operation,) = ledger.claim("north-epic", 1, LEASE_S)
    ledger.settle({operation.operation_id: done(State.HELD, code=code, message="m", http_status=403)})
    return operation.operation_id


def test_a_released_operation_is_pending_again_without_its_trouble_and_is_claimed(ledger: SqlLedger):
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
