"""What a change of the ledger causes on Kafka is written with the change, and its audit chain holds whatever happens."""

import asyncio
import random
import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta

import pytest
from sqlalchemy import text

from adapters.ledger import SqlLedger, migrate
from adapters.ledger.engine import connect
from adapters.metrics import PrometheusObserver
from schemas.audit import AuditEvent, Step
from schemas.errors import RecordRefused
from schemas.operation import Operation, Outcome, State
from schemas.ports.kafka import Outgoing
from schemas.ports.ledger import OutboxEntries, Recorded
from schemas.topics import AUDIT, CORRECTIONS
from streams.audit.verification import broken_links
from streams.runtime.outbox import OutboxPublisher, published
from tests.conditions import until
from tests.doubles.ledgers import KEY, LEASE_S, HandClock, audited, done, in_outbox, intent, ledger_at, reported_windows
from tests.doubles.ports import MemoryProducer


def said(action: str, tenant: str = "north", **more: str) -> OutboxEntries:
    return OutboxEntries("clinical", [Step(tenant, action, "success", **more)])


def recorded(entries: list[Recorded]) -> OutboxEntries:
    steps = [Step("north", "operation.recorded", "success", one.operation_id) for one in entries if not one.duplicate]
    return OutboxEntries("clinical", steps)


def settled(operation: Operation, outcome: Outcome) -> OutboxEntries:
    return said(f"operation.{outcome.state}", source=operation.intent.source.event_id)


@pytest.fixture
def ledger(database_url: str, clock: HandClock) -> Iterator[SqlLedger]:
    """A ledger with a subscriber to settlements."""
    migrate(database_url)
    opened = ledger_at(database_url, clock, KEY, settled)
    yield opened
    opened.close()


def events(producer: MemoryProducer) -> list[AuditEvent]:
    return [AuditEvent.model_validate_json(record.value or b"") for record in producer.to(AUDIT)]


def in_outbox_of(ledger: SqlLedger) -> list[int]:
    """Numbers of what waits, without taking the lease."""
    with ledger._engine.connect() as db:
        return list(db.execute(text("SELECT id FROM outbox ORDER BY id")).scalars())


def publisher(ledger: SqlLedger, producer: MemoryProducer, holder: str = "a worker") -> OutboxPublisher:
    return OutboxPublisher(ledger, producer, PrometheusObserver(), holder)


class Picky(MemoryProducer):
    """Takes the records before one that it refuses for good, and those after it, as librdkafka does."""

    def __init__(self, refused: bytes) -> None:
        super().__init__()
        self.refused: bytes | None = refused

    async def send(self, records: Sequence[Outgoing]) -> None:
        taken = [one for one in records if self.refused is None or self.refused not in (one.value or b"")]
        await super().send(taken)
        if len(taken) < len(records):
            raise RecordRefused


class Silent(MemoryProducer):
    """Never comes back with an answer."""

    async def send(self, _records: Sequence[Outgoing]) -> None:
        await asyncio.Event().wait()


def test_every_change_leaves_its_step_in_one_chain_a_tenant(ledger: SqlLedger):
    ledger.record([intent("w1"), intent("w2", patient="b")], None, recorded)
    ledger.record([intent("w1")], None, recorded)
    one, two = ledger.claim("north-epic", 2, LEASE_S)
    outcomes = {one.operation_id: done(fence=1), two.operation_id: done(State.HELD)}
    ledger.settle(outcomes)
    ledger.settle(outcomes)
    ledger.release([one.operation_id, two.operation_id], dict.fromkeys(outcomes, said("operation.release_ordered")))
    ledger.record([], None, lambda _none: said("window.quarantined", "south\0\ud800"))

    waiting = audited(ledger)
    actions = [event.action for event in waiting]
    assert actions[:2] == ["operation.recorded", "operation.recorded"]
    assert sorted(actions[2:4]) == ["operation.held", "operation.succeeded"]
    assert actions[4:] == ["operation.release_ordered", "window.quarantined"]
    assert broken_links(waiting) == []


def test_a_stale_outcome_leaves_no_step(ledger: SqlLedger):
    ledger.record([intent("w1")])
    (one,) = ledger.claim("north-epic", 1, LEASE_S)
    assert ledger.settle({one.operation_id: done(fence=7)})
    assert audited(ledger) == []


def test_a_change_that_fails_leaves_neither_step_nor_gap(ledger: SqlLedger):
    def fails(_recorded: object) -> OutboxEntries:
        raise ZeroDivisionError

    ledger.record([intent("w1")], None, recorded)
    with pytest.raises(ZeroDivisionError):
        ledger.record([intent("w2")], None, fails)
    ledger.record([intent("w3")], None, recorded)
    assert [event.event_id.rpartition("/")[2] for event in audited(ledger)] == ["0", "1"]
    assert reported_windows(ledger) == {"w1-0", "w3-0"}


async def test_other_records_go_out_as_they_were_given(ledger: SqlLedger):
    given = [
        Outgoing(CORRECTIONS, b"\xff key", b"\x00value", headers=(("tenant", b"\xfe"),)),
        Outgoing(CORRECTIONS, b"key", None, partition=3),
    ]
    ledger.mark_reviewed("pairing", {"a": "1"}, OutboxEntries("delivery", records=given))
    producer = MemoryProducer()
    await publisher(ledger, producer).publish()
    assert producer.sent == given
    assert in_outbox(ledger, CORRECTIONS) == []


async def test_kafka_away_delays_and_loses_nothing(ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("streams.runtime.backoff.FIRST_S", 0.001)
    producer = MemoryProducer()
    producer.away = 3
    steps = [Step("north", "window.quarantined", "refused", source=str(number)) for number in range(1200)]
    ledger.record([], None, lambda _none: OutboxEntries("clinical", steps))
    async with published(publisher(ledger, producer)):
        await until(lambda: ledger.oldest_outbox_age_s() is None)
    assert [event.source for event in events(producer)] == [str(number) for number in range(1200)]
    assert broken_links(events(producer)) == []
    assert ledger.oldest_outbox_age_s() is None


async def test_a_publisher_that_died_before_it_took_note_repeats_to_the_byte(ledger: SqlLedger, clock: HandClock):
    producer = MemoryProducer()
    ledger.record([intent("w1"), intent("w2")], None, recorded)
    producer.sent += [queued.record for queued in ledger.lease_outbox("died", 10, LEASE_S)]
    await publisher(ledger, producer).publish()
    assert len(producer.sent) == 2
    clock.now = clock.now.replace(minute=30)
    await publisher(ledger, producer).publish()
    assert producer.sent[:2] == producer.sent[2:]
    assert broken_links(events(producer)) == []


def test_racing_writers_and_publishers_leave_a_chain_that_holds(ledger: SqlLedger):
    """Four writers, and two publishers of which each sends some again, in no order: as in every crash there is."""
    out: list[Outgoing] = []
    writing = threading.Event()

    def write(seed: int) -> None:
        for number in range(30):
            event = f"w{seed}-{number}"
            ledger.record([intent(event, patient=f"p{seed}")], None, recorded)
            for one in ledger.claim("north-epic", 2, LEASE_S):
                ledger.settle({one.operation_id: done(fence=one.fence)})

    def publish(seed: int) -> None:
        fortune = random.Random(seed)
        while not writing.is_set() or ledger.oldest_outbox_age_s() is not None:
            records = ledger.lease_outbox(f"publisher {seed}", fortune.randint(1, 20), 0)
            out.extend(queued.record for queued in records)
            if fortune.random() < 0.5:
                ledger.confirm_sent([queued.id for queued in records])

    writers = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    publishers = [threading.Thread(target=publish, args=(n,)) for n in range(2)]
    for thread in (*writers, *publishers):
        thread.start()
    for thread in writers:
        thread.join()
    writing.set()
    for thread in publishers:
        thread.join()
    seen = [AuditEvent.model_validate_json(record.value or b"") for record in out]
    assert broken_links(seen) == []
    numbers = {int(event.event_id.rpartition("/")[2]) for event in seen}
    assert numbers == set(range(len(numbers)))
    assert (
        sum(event.action == "operation.recorded" for event in {event.event_id: event for event in seen}.values()) == 120
    )


async def test_a_damaged_record_of_the_outbox_is_kept_and_passed_over(ledger: SqlLedger, database_url: str):
    ledger.record([intent("w1"), intent("w2")], None, recorded)
    engine = connect(database_url)
    with engine.begin() as db:
        db.execute(text("UPDATE outbox SET record = :damaged WHERE id = 1"), {"damaged": b"\x01damaged"})
    producer = MemoryProducer()
    await publisher(ledger, producer).publish()
    assert len(producer.sent) == 1
    with engine.connect() as db:
        assert db.execute(text("SELECT count(*) FROM outbox WHERE unreadable")).scalar_one() == 1
    engine.dispose()


async def test_a_record_refused_for_good_waits_at_the_head_of_its_topic_and_holds_back_no_other(
    ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("streams.runtime.backoff.FIRST_S", 0.001)
    producer = Picky(b"too large")
    for source in ("first", "too large", "third"):
        ledger.record([], None, lambda _none, source=source: said("window.quarantined", source=source))
    ledger.mark_reviewed("pairing", {"a": "1"}, OutboxEntries("delivery", records=[Outgoing(CORRECTIONS, b"k", b"v")]))
    publishing = publisher(ledger, producer)
    async with published(publishing):
        await until(lambda: producer.to(CORRECTIONS) and len(in_outbox_of(ledger)) == 2)
        sent_before = len(producer.sent)
        ledger.record([], None, lambda _none: said("window.quarantined", source="fourth"))
        await until(lambda: len(in_outbox_of(ledger)) == 3)
        assert len(producer.sent) == sent_before
        producer.refused = None
        await until(lambda: ledger.oldest_outbox_age_s() is None)
    assert {event.source for event in events(producer)} == {"first", "too large", "third", "fourth"}
    assert broken_links(events(producer)) == []
    after = [event.source for event in events(producer)][-3:]
    assert after == ["too large", "third", "fourth"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_the_age_of_the_outbox_is_published_while_kafka_does_not_answer(ledger: SqlLedger, clock: HandClock):
    observer = PrometheusObserver()
    ledger.record([], None, lambda _none: said("window.quarantined"))
    async with published(OutboxPublisher(ledger, Silent(), observer, "a worker"), shutdown_timeout_s=0):
        clock.now += timedelta(seconds=15)
        await until(lambda: "outbox_age_seconds 15.0" in observer.exposition().decode())
        clock.now += timedelta(seconds=120)
        await until(lambda: "outbox_age_seconds 135.0" in observer.exposition().decode())
