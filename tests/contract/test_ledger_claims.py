"""Who may say how an operation ended: the holder of its latest claim, whatever other workers or their clocks say."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from adapters.ledger import SqlLedger, migrate, open_ledger
from adapters.ledger.intent_form import decode
from schemas.errors import Unsafe
from schemas.instants import epoch_us
from schemas.operation import Intent, Operation, State
from schemas.ports.kafka import Outgoing
from schemas.ports.ledger import OutboxEntries
from schemas.topics import CORRECTIONS
from streams.delivery.audit import readdressed
from tests.doubles.ledgers import KEY, LATER, LEASE_S, NOW, HandClock, audited, done, in_outbox, intent


def claim(ledger: SqlLedger) -> Operation:
    (operation,) = ledger.claim("north-epic", 1, LEASE_S)
    return operation


def taken_over(ledger: SqlLedger, clock: HandClock) -> tuple[Operation, Operation]:
    """One operation as the worker has it whose lease ran out, and as the next one has it."""
    ledger.record([intent("w1")])
    paused = claim(ledger)
    clock.now = LATER
    return paused, claim(ledger)


def test_a_paused_workers_outcome_changes_nothing_while_another_sends(ledger: SqlLedger, clock: HandClock):
    paused, under_way = taken_over(ledger, clock)
    before = ledger.operation(paused.operation_id)

    assert ledger.settle({paused.operation_id: done(State.DEFERRED, fence=paused.fence)}) == [paused.operation_id]

    assert ledger.operation(paused.operation_id) == before
    assert ledger.claim("north-epic", 1, LEASE_S) == []
    assert ledger.settle({under_way.operation_id: done(fence=under_way.fence, resource_id="o-1")}) == []
    assert ledger.operation(paused.operation_id).state is State.SUCCEEDED


def test_a_stale_outcome_is_kept_as_evidence_with_what_was_sent_and_answered(ledger: SqlLedger, clock: HandClock):
    paused, under_way = taken_over(ledger, clock)
    late = done(fence=paused.fence, http_status=201, resource_id="second", request=b"sent", response=b"answered")
    ledger.settle({under_way.operation_id: done(State.QUARANTINED, fence=under_way.fence)})
    ledger.settle({paused.operation_id: late})

    kept = ledger.operation(paused.operation_id)
    assert (kept.state, kept.resource_id) == (State.QUARANTINED, None)
    (_, stale) = ledger.attempts(paused.operation_id)
    assert (stale.fence, stale.state, stale.code, stale.http_status, stale.request, stale.response) == (
        paused.fence, State.SUCCEEDED, "stale_claim", 201, b"sent", b"answered"
    )  # fmt: skip


def test_the_same_outcome_reported_again_is_neither_stale_nor_a_second_attempt(ledger: SqlLedger):
    ledger.record([intent("w1")])
    operation = claim(ledger)
    outcome = {operation.operation_id: done(State.UNKNOWN, fence=operation.fence, retry_after_s=0)}
    assert [ledger.settle(outcome), ledger.settle(outcome)] == [[], []]
    assert len(ledger.attempts(operation.operation_id)) == 1
    again = claim(ledger)
    assert ledger.settle(outcome) == []
    assert ledger.operation(again.operation_id).fence == again.fence


def test_every_claim_and_release_takes_the_operation_from_its_previous_holder(ledger: SqlLedger):
    ledger.record([intent("w1")])
    first = claim(ledger)
    ledger.settle({first.operation_id: done(State.HELD, fence=first.fence)})
    ledger.release([first.operation_id])
    assert ledger.settle({first.operation_id: done(fence=first.fence + 1)}) == [first.operation_id]
    second = claim(ledger)
    assert second.fence > first.fence + 1
    assert ledger.operation(first.operation_id).state is State.IN_PROGRESS


def test_doubt_stays_once_an_attempt_was_ambiguous(ledger: SqlLedger):
    ledger.record([intent("w1")])
    first = claim(ledger)
    assert not first.in_doubt
    ledger.settle({first.operation_id: done(State.UNKNOWN, fence=first.fence)})
    second = claim(ledger)
    assert second.in_doubt
    ledger.settle({first.operation_id: done(State.HELD, fence=second.fence)})
    ledger.release([first.operation_id])
    assert claim(ledger).in_doubt


def test_doubt_stays_once_a_worker_died_with_an_operation(ledger: SqlLedger, clock: HandClock):
    _, second = taken_over(ledger, clock)
    assert second.in_doubt
    ledger.settle({second.operation_id: done(State.DEFERRED, fence=second.fence)})
    third = claim(ledger)
    assert (third.state, third.in_doubt) == (State.IN_PROGRESS, True)


def test_leases_ages_and_retry_times_follow_the_databases_clock(postgres: str):
    """Lease, age and retry time come from PostgreSQL, though this process's clock is five minutes ahead, then behind."""
    migrate(postgres)
    subprocess.run([sys.executable, "-c", _WRONG_CLOCKS, postgres], check=True)
    ledger = open_ledger(postgres, KEY, subscribers=())
    with psycopg.connect(postgres.replace("+psycopg", "")) as session:
        row = session.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint").fetchone()
    assert row is not None
    live, waiting = ledger.find(limit=2)
    assert live.next_attempt_at is not None
    assert 0 < epoch_us(live.next_attempt_at) - row[0] <= LEASE_S * 1_000_000
    assert epoch_us(live.created_at) <= row[0]
    assert (waiting.state, epoch_us(waiting.next_attempt_at or NOW) - epoch_us(waiting.created_at) < 35_000_000) == (
        State.DEFERRED, True
    )  # fmt: skip
    ledger.close()


_WRONG_CLOCKS = """
import sys, time
real_ns, real = time.time_ns, time.time
def ahead(seconds):
    time.time_ns = lambda: real_ns() + int(seconds * 1e9)
    time.time = lambda: real() + seconds
from adapters.ledger import open_ledger
from tests.doubles.ledgers import KEY, LEASE_S, done, intent
from schemas.operation import State
ahead(-300)
behind = open_ledger(sys.argv[1], KEY, subscribers=())
behind.record([intent("w1", patient="a"), intent("w2", patient="b")])
one, two = behind.claim("north-epic", 2, LEASE_S)
ahead(300)
early = open_ledger(sys.argv[1], KEY, subscribers=())
assert early.claim("north-epic", 2, LEASE_S) == []
early.settle({two.operation_id: done(State.DEFERRED, fence=two.fence, retry_after_s=30)})
assert early.claim("north-epic", 2, LEASE_S) == []
"""


def corrected(before: Intent) -> Intent:
    return before.model_copy(update={"subject_id": "right", "payload": {"resourceType": "Observation"}})


def test_a_claimed_operation_is_readdressed_before_it_is_sent(ledger: SqlLedger):
    ledger.record([intent("w1")])
    operation = claim(ledger)
    assert ledger.readdress(operation.operation_id, operation.fence, corrected(operation.intent))
    kept = ledger.operation(operation.operation_id)
    assert (kept.operation_id, kept.intent, kept.fence) == (
        operation.operation_id, corrected(operation.intent), operation.fence
    )  # fmt: skip
    (evidence,) = ledger.attempts(operation.operation_id)
    assert (evidence.code, decode(evidence.request or b"")) == ("readdressed", operation.intent)
    assert ledger.settle({operation.operation_id: done(fence=operation.fence)}) == []


def test_a_readdressed_result_is_audited_with_the_change_and_one_that_is_not_leaves_no_event(ledger: SqlLedger):
    ledger.record([intent("w1")])
    operation = claim(ledger)
    address = corrected(operation.intent)
    assert not ledger.readdress(operation.operation_id, operation.fence + 1, address, readdressed(operation))
    assert audited(ledger) == []
    assert ledger.readdress(operation.operation_id, operation.fence, address, readdressed(operation))
    (event,) = audited(ledger)
    assert (event.action, event.operation_id, event.reason) == (
        "operation.readdressed", operation.operation_id, "subject_changed"
    )  # fmt: skip
    assert {operation.intent.subject_id, address.subject_id}.isdisjoint(event.model_dump().values())


def test_no_worker_readdresses_what_another_holds_or_what_may_have_been_sent(ledger: SqlLedger, clock: HandClock):
    paused, under_way = taken_over(ledger, clock)
    for holder in (paused, under_way):
        assert not ledger.readdress(holder.operation_id, holder.fence, corrected(holder.intent))
    assert ledger.operation(paused.operation_id).intent == paused.intent
    assert not ledger.readdress("nothing", 1, paused.intent)


def test_an_operation_never_becomes_another_patients(ledger: SqlLedger):
    ledger.record([intent("w1")])
    operation = claim(ledger)
    other = operation.intent.model_copy(update={"patient_id": "another"})
    with pytest.raises(Unsafe):
        ledger.readdress(operation.operation_id, operation.fence, other)


def test_the_charted_are_found_by_device_patient_and_span(ledger: SqlLedger):
    ledger.record([intent("w1", patient="a", device="d1"), intent("w2", patient="b", device="d2"), intent("w3")])
    for operation in ledger.claim("north-epic", 3, LEASE_S):
        ledger.settle({operation.operation_id: done(fence=operation.fence)})
    ledger.record([intent("w4", patient="a", device="d1")])
    device, patient = ledger.keyed_hash("north", "d1"), ledger.keyed_hash("north", "north-epic", "b")

    def events(**asked: object) -> list[str]:
        return [one.intent.source.event_id for one in ledger.list_charted(**asked)]  # type: ignore[arg-type]

    assert events(device=device) == ["w1"]
    assert events(patient=patient) == ["w2"]
    assert events(device=device, first=NOW) == []
    assert events(device=device, last=NOW) == ["w1"]
    assert events() == ["w1", "w2", "w3"]
    assert events(after=1, limit=1) == ["w2"]


def test_what_was_reviewed_is_remembered_until_it_changes_or_goes(ledger: SqlLedger):
    ledger.mark_reviewed("pairing", {"a": "1", "b": "1"})
    ledger.mark_reviewed("patient", {"a": "9"})
    ledger.mark_reviewed("pairing", {"a": "2", "b": None, "c": None})
    assert (ledger.reviewed_fingerprints("pairing"), ledger.reviewed_fingerprints("patient")) == (
        {"a": "2"},
        {"a": "9"},
    )


def test_an_event_to_be_published_once_is_published_once_by_any_number_of_workers(ledger: SqlLedger) -> None:
    def entries(*names: str) -> dict[str, tuple[str, OutboxEntries]]:
        return {name: ("pairing_changed", OutboxEntries("delivery", records=[_record(name)])) for name in names}

    with ThreadPoolExecutor(8) as workers:
        given = list(workers.map(lambda _: ledger.report_once("correction", entries("a", "b")), range(8)))
    assert sorted(name for names in given for name in names) == ["a", "b"]
    assert sorted(record.key for record in in_outbox(ledger, CORRECTIONS)) == [b"a", b"b"]
    ledger.mark_reviewed("correction", {"a": None})
    assert ledger.report_once("correction", entries("a", "b")) == ["a"]


def _record(name: str) -> Outgoing:
    return Outgoing(CORRECTIONS, name.encode(), b"{}")
