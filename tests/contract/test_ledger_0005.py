"""A ledger file that the version before wrote (revision 0005, see tests/data/ledger-0005) works on in this one."""

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import MetaData, insert, text

from adapters.ledger import SqlLedger, migrate
from adapters.ledger.engine import connect, migrations
from mappings.result_kinds import RESULT_KINDS
from schemas.operation import TERMINAL, Intent, Source, State
from schemas.ports.kafka import GroupPosition
from schemas.ports.ledger import OutboxEntries
from schemas.topics import AUDIT, CORRECTIONS
from streams.delivery.audit import SettlementAudit
from tests.doubles.ledger_commands import run
from tests.doubles.ledgers import KEY, LEASE_S, NOW, HandClock, done, ledger_at, reported_windows

FILE = Path(__file__).parents[1] / "data" / "ledger-0005" / "ledger.db"
STATES = {
    "succeeded": State.SUCCEEDED,
    "failed": State.FAILED,
    "deferred": State.DEFERRED,
    "unknown": State.UNKNOWN,
    "quarantined": State.QUARANTINED,
    "held": State.HELD,
    "amended": State.SUCCEEDED,
    "panel": State.SUCCEEDED,
    "in_progress": State.IN_PROGRESS,
    "amended again": State.PENDING,
    "pending": State.PENDING,
    "pending again": State.PENDING,
}


def intent(event: str, content: str = "c1", *, panel: bool = False) -> Intent:
    """What tests/data/ledger-0005/write_ledger.py recorded, as this version has it."""
    return Intent(
        tenant_id="north",
        endpoint="north-epic",
        patient_id=f"patient of {event}",
        subject_id="eAB3",
        purpose="vitals",
        scope="blood_pressure" if panel else "heart_rate",
        resource_type="Observation",
        source=Source(
            event_id=event,
            part_ids=[event, f"{event}-diastolic"] if panel else [event],
            device_id="mon-17",
            first_time=NOW - timedelta(seconds=71),
            last_time=NOW - timedelta(seconds=13),
        ),
        content_hash=content,
        payload={
            "resourceType": "Observation",
            "status": "final",
            "subject": {"reference": "Patient/eAB3"},
            "valueQuantity": {"value": 36.6, "unit": "/min"},
        },
        occurred_at=NOW - timedelta(seconds=11),
        produced_at=NOW - timedelta(seconds=1),
    )


def recorded_before() -> list[Intent]:
    """In order of sequence."""
    once = [intent(name, panel=name == "panel") for name in STATES if not name.endswith(" again")]
    first, pending = once[:-1], once[-1:]
    return [*first, intent("amended", "c2"), *pending, intent("pending", "c2")]


def in_sqlite(file: Path, _database_url: str) -> str:
    return f"sqlite:///{file}"


def in_postgresql(file: Path, database_url: str) -> str:
    """The rows of the file in PostgreSQL, in the tables of revision 0005."""
    engine = connect(database_url)
    with engine.begin() as db, closing(sqlite3.connect(file)) as source:
        source.row_factory = sqlite3.Row
        config = migrations()
        config.attributes["connection"] = db
        command.upgrade(config, "0005")
        tables = MetaData()
        tables.reflect(db)
        for table in tables.sorted_tables:
            rows = [dict(row) for row in source.execute(f"SELECT * FROM {table.name}")]
            flags = [column.name for column in table.columns if str(column.type) == "BOOLEAN"]
            db.execute(table.delete())
            if rows:
                db.execute(insert(table), [row | {name: bool(row[name]) for name in flags} for row in rows])
        for table, column in (("operations", "sequence"), ("attempts", "id"), ("outbox", "id"), ("tallies", "id")):
            db.execute(
                text(f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'), max({column})) FROM {table}")
            )
    engine.dispose()
    return database_url


@pytest.fixture
def url(database_url: str, tmp_path: Path) -> str:
    for file in FILE.parent.glob("ledger.db*"):
        shutil.copy(file, tmp_path / file.name)
    copy: Callable[[Path, str], str] = in_postgresql if database_url.startswith("postgresql") else in_sqlite
    made = copy(tmp_path / FILE.name, database_url)
    migrate(made)
    return made


@pytest.fixture
def ledger(url: str, clock: HandClock) -> Iterator[SqlLedger]:
    clock.now = NOW + timedelta(seconds=10)
    opened = ledger_at(url, clock, KEY, SettlementAudit(RESULT_KINDS))
    yield opened
    opened.close()


def ids(ledger: SqlLedger) -> dict[str, str]:
    found = ledger.find(limit=100)
    return {name: operation.operation_id for name, operation in zip(STATES, found, strict=True)}


def test_every_operation_is_read_as_it_was_recorded_and_settled(ledger: SqlLedger):
    found = ledger.find(limit=100)
    assert [operation.intent for operation in found] == recorded_before()
    assert {name: operation.state for name, operation in zip(STATES, found, strict=True)} == STATES
    for operation in found:
        attempts = ledger.attempts(operation.operation_id)
        settled = operation.state not in {State.PENDING, State.IN_PROGRESS}
        assert [one.request for one in attempts] == ([b'{"sent":1}'] if settled else [])
        assert operation.in_doubt is (operation.state is State.UNKNOWN)


def test_counts_positions_and_reviews_are_those_of_the_version_before(ledger: SqlLedger):
    counted = {state: list(STATES.values()).count(state) for state in set(STATES.values())}
    assert ledger.states() == {"north-epic": counted}
    assert ledger.states_by_purpose() == {"vitals": counted}
    assert ledger.positions("vitals.windows") == {0: 15}
    assert ledger.reviewed_fingerprints("pairing") == {ledger.keyed_hash("north", "mon-17"): "print"}
    listed = ledger.list_charted(device=ledger.keyed_hash("north", "mon-17"))
    assert [one.intent.source.event_id for one in listed] == ["succeeded", "amended", "panel"]
    assert reported_windows(ledger) == {window for one in recorded_before() for window in one.source.part_ids}


def test_the_file_is_the_ledger_that_was_left_and_its_rows_in_another_database_are_not(
    ledger: SqlLedger, database_url: str
):
    went_back = ledger.take_over("vitals.windows", {0: GroupPosition(15, 20)}, 1.0, OutboxEntries("clinical"))
    assert went_back is database_url.startswith("postgresql")


def test_the_outbox_of_the_version_before_is_published(ledger: SqlLedger):
    queued = ledger.lease_outbox("a worker of this version", 100, LEASE_S)
    topics = [one.record.topic for one in queued]
    assert (topics.count(AUDIT), topics.count(CORRECTIONS), len(topics)) == (18, 1, 19)
    ledger.confirm_sent([one.id for one in queued])
    assert ledger.oldest_outbox_age_s() is None


def test_every_open_operation_is_claimed_in_order_and_settled(ledger: SqlLedger, clock: HandClock):
    names = {operation_id: name for name, operation_id in ids(ledger).items()}
    clock.now = NOW + timedelta(seconds=120)
    claimed: list[str] = []
    while operations := ledger.claim("north-epic", 100, LEASE_S):
        claimed += [names[one.operation_id] for one in operations]
        outcomes = {one.operation_id: done(fence=one.fence, resource_id="obs-new") for one in operations}
        assert ledger.settle(outcomes, {one.operation_id: one for one in operations}) == []
    assert sorted(claimed) == sorted(
        ["deferred", "unknown", "in_progress", "amended again", "pending", "pending again"]
    )
    assert claimed.index("pending") < claimed.index("pending again")
    assert ledger.release([ids(ledger)["held"]])
    (released,) = ledger.claim("north-epic", 100, LEASE_S)
    ledger.settle({released.operation_id: done(fence=released.fence)})
    assert all(operation.state in TERMINAL for operation in ledger.find(limit=100))
    assert ledger.states() == {"north-epic": {State.SUCCEEDED: 10, State.FAILED: 1, State.QUARANTINED: 1}}


def test_what_was_in_progress_may_have_been_sent_and_is_searched_first(ledger: SqlLedger, clock: HandClock):
    clock.now = NOW + timedelta(seconds=120)
    claimed = {one.intent.source.event_id: one for one in ledger.claim("north-epic", 100, LEASE_S)}
    assert (claimed["in_progress"].state, claimed["in_progress"].in_doubt) == (State.UNKNOWN, True)


def test_a_repeat_of_a_window_is_still_a_duplicate(ledger: SqlLedger):
    known = ids(ledger)
    again = ledger.record(recorded_before())
    assert [one.operation_id for one in again] == list(known.values())
    assert all(one.duplicate for one in again)
    assert len(ledger.find(limit=100)) == len(STATES)


def test_new_content_of_a_window_amends_what_the_version_before_recorded(ledger: SqlLedger):
    known = ids(ledger)
    (amended, chained) = ledger.record([intent("succeeded", "c2"), intent("amended", "c3")])
    assert (amended.duplicate, amended.amends) == (False, known["succeeded"])
    assert (chained.duplicate, chained.amends) == (False, known["amended again"])


@pytest.mark.parametrize("name", ["panel", "held", "pending"])
def test_ledger_show_prints_an_operation_of_the_version_before(
    ledger: SqlLedger, url: str, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("VITALWIRE_DATABASE", url)
    monkeypatch.setenv("VITALWIRE_LEDGER_KEY", KEY.hex())
    assert run("show", ids(ledger)[name], "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["state"], shown["window_id"]) == (str(STATES[name]), name)
    assert (shown["vital_type"], shown["purpose"]) == ("blood_pressure" if name == "panel" else "heart_rate", "vitals")
    assert shown["first_reading"] == "2026-01-05T09:58:49.123456Z"
