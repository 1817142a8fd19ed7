"""Opening a ledger: its migrations, its encryption key, and that no column holds a patient's data in the clear."""

import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from adapters.ledger import SqlLedger, migrate, open_ledger
from adapters.ledger.engine import connect
from adapters.ledger.tables import metadata
from schemas.audit import Step
from schemas.errors import Misconfigured, RetryLater
from schemas.ports.kafka import Outgoing, Position
from schemas.ports.ledger import OutboxEntries
from schemas.topics import CORRECTIONS
from tests.doubles.ledgers import KEY, LEASE_S, HandClock, done, intent, ledger_at


def test_no_column_holds_what_was_sent_or_the_patient_in_the_clear(ledger: SqlLedger, database_url: str):
    (first,) = ledger.record([intent("w1", patient="PATIENT-CANARY")], Position("vitals.windows", 0, 1))
    ledger.claim("north-epic", 1, LEASE_S)
    ledger.mark_reviewed("pairing", {ledger.keyed_hash("PATIENT-CANARY"): ledger.keyed_hash("CANARY")})
    going = OutboxEntries(
        "delivery", [Step("north", "charted", "success")], [Outgoing(CORRECTIONS, b"CANARY", b"CANARY")]
    )
    outcome = done(request=b"CANARY", response=b"CANARY")
    ledger_at(database_url, HandClock(), KEY, lambda _operation, _outcome: going).settle({first.operation_id: outcome})
    assert ledger.lease_outbox("a worker", 9, LEASE_S)
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
        open_ledger(database_url, other, subscribers=())


def test_a_ledger_without_a_key_works_as_well(database_url: str):
    migrate(database_url)
    plain = open_ledger(database_url, None, subscribers=())
    (first,) = plain.record([intent("w1")])
    assert plain.operation(first.operation_id).intent == intent("w1")
    plain.close()


def test_a_key_that_is_too_short_is_refused(database_url: str):
    with pytest.raises(Misconfigured, match="at least 32 bytes"):
        open_ledger(database_url, b"short", subscribers=())


def test_a_database_that_was_not_migrated_is_refused_with_what_to_do(database_url: str):
    with pytest.raises(Misconfigured, match="a clinical or delivery worker creates or migrates them"):
        open_ledger(database_url, KEY, subscribers=())


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
    open_ledger(database_url, KEY, subscribers=()).close()


def test_the_migrations_make_the_tables_the_program_declares(database_url: str):
    migrate(database_url)
    engine = connect(database_url)
    with engine.connect() as db:
        assert compare_metadata(MigrationContext.configure(db), metadata) == []
    engine.dispose()
