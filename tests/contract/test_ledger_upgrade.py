"""A ledger written by the first version is opened, read and settled by this one."""

from pathlib import Path

import orjson
import pytest
from alembic import command
from sqlalchemy import text

from adapters.ledger import open_ledger
from adapters.ledger.engine import connect, migrate, migrations
from adapters.ledger.sealing import Seal
from schemas.errors import Misconfigured
from schemas.instants import epoch_us
from schemas.operation import Intent, State
from schemas.ports.kafka import GroupPosition
from schemas.ports.ledger import OutboxEntries
from tests.doubles.ledgers import KEY, LATER, LEASE_S, NOW, HandClock, done, intent, ledger_at


def in_first_form(of: Intent) -> dict[str, object]:
    """An intent as the first version stored it."""
    now = of.model_dump(mode="json")
    same = ("tenant_id", "endpoint", "patient_id", "subject_id", "resource_type", "content_hash")
    return {name: now[name] for name in same} | {
        "source_event_id": now["source"]["event_id"],
        "source_ids": now["source"]["part_ids"],
        "vital_type": now["scope"],
        "measured_at": now["occurred_at"],
        "resource": now["payload"],
        "window_closed_at": now["produced_at"],
    }


def first_version(url: str, states: dict[str, tuple[State, int]]) -> None:
    """A ledger as the first version left it: one patient and operation a state."""
    engine = connect(url)
    seal = Seal(KEY)
    with engine.begin() as db:
        config = migrations()
        config.attributes["connection"] = db
        command.upgrade(config, "0001")
        db.execute(text("INSERT INTO ledger_key VALUES (1, :f)"), {"f": seal.fingerprint})
        for sequence, (name, (state, attempts)) in enumerate(states.items(), start=1):
            open_us = None if state in {State.SUCCEEDED, State.HELD} else epoch_us(NOW)
            lane = seal.name("north", "north-epic", name)
            of = intent(name, patient=name)
            sealed = seal.close(orjson.dumps(in_first_form(of)), name)
            db.execute(
                text(
                    "INSERT INTO operations (operation_id, event_key, tenant_id, endpoint, lane, resource_type,"
                    " source_event_id, content_hash, source_ids, intent, state, attempts, created_us, due_us)"
                    " VALUES (:name, :name, 'north', 'north-epic', :lane, 'Observation', :name, 'c1', :ids, :intent,"
                    " :state, :attempts, :at, :due)"
                ),
                {"name": name, "lane": lane, "ids": f"{name}-0", "intent": sealed, "state": state,
                 "attempts": attempts, "at": epoch_us(NOW), "due": open_us},
            )  # fmt: skip
            db.execute(
                text("INSERT INTO lanes VALUES (:lane, 'north-epic', :head, :due)"),
                {"lane": lane, "head": sequence if open_us else None, "due": open_us},
            )
            if state is not State.PENDING and state is not State.IN_PROGRESS:
                db.execute(
                    text("INSERT INTO attempts (operation_id, attempt, at_us, state) VALUES (:name, 1, :at, :state)"),
                    {"name": name, "at": epoch_us(NOW), "state": state},
                )
    engine.dispose()


def test_the_tables_of_a_newer_version_are_refused_with_a_sentence_and_not_touched(database_url: str):
    migrate(database_url)
    engine = connect(database_url)
    with engine.begin() as db:
        db.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for opening in (lambda: migrate(database_url), lambda: open_ledger(database_url, KEY, subscribers=())):
        with pytest.raises(Misconfigured, match=r"9999, of a newer Vitalwire.*rollback"):
            opening()
    with engine.begin() as db:
        assert db.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "9999"
    engine.dispose()


def test_the_tables_of_an_older_version_are_said_to_be_made_by_the_workers(database_url: str):
    first_version(database_url, {})
    with pytest.raises(Misconfigured, match=r"at version 0001, this program needs .*worker .* when it starts"):
        open_ledger(database_url, KEY, subscribers=())


def test_a_database_without_tables_is_said_to_have_none(tmp_path: Path):
    with pytest.raises(Misconfigured, match=r"do not exist yet"):
        open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}", KEY, subscribers=())


def test_a_ledger_of_the_first_version_is_read_and_settled_and_its_doubts_are_known(database_url: str):
    states = {
        "fresh": (State.PENDING, 0),
        "sending": (State.IN_PROGRESS, 1),
        "searching": (State.UNKNOWN, 1),
        "waiting": (State.DEFERRED, 1),
        "died-once": (State.DEFERRED, 2),
        "charted": (State.SUCCEEDED, 1),
        "held": (State.HELD, 1),
    }
    first_version(database_url, states)
    migrate(database_url)
    clock = HandClock()
    clock.now = LATER
    ledger = ledger_at(database_url, clock)

    kept = {name: ledger.operation(name) for name in states}
    assert {name: one.state for name, one in kept.items() if one} == {
        name: state for name, (state, _) in states.items()
    }
    assert {name for name, one in kept.items() if one and one.in_doubt} == {"sending", "searching", "died-once"}
    assert all(one.intent == intent(name, patient=name) for name, one in kept.items() if one)
    taken = ledger.claim("north-epic", 10, LEASE_S)
    assert {one.operation_id: one.state for one in taken} == {
        "fresh": State.IN_PROGRESS,
        "sending": State.UNKNOWN,
        "searching": State.UNKNOWN,
        "waiting": State.IN_PROGRESS,
        "died-once": State.IN_PROGRESS,
    }
    assert ledger.settle({one.operation_id: done(fence=one.fence) for one in taken}) == []
    assert ledger.release(["held"]) == ["held"]
    assert ledger.states() == {"north-epic": {State.SUCCEEDED: 6, State.PENDING: 1}}
    ledger.close()
    open_ledger(database_url, KEY, subscribers=()).close()


def test_a_ledger_of_the_first_version_that_held_no_operation_did_not_go_back(database_url: str):
    first_version(database_url, {})
    migrate(database_url)
    ledger = ledger_at(database_url, HandClock())
    assert not ledger.take_over("vitals.windows", {0: GroupPosition(500, 500)}, 1.0, OutboxEntries("clinical"))
    assert ledger.positions("vitals.windows") == {0: 500}
    assert not ledger.take_over("vitals.windows", {0: GroupPosition(500, 500)}, 1.0, OutboxEntries("clinical"))
    assert ledger.take_over("vitals.windows", {0: GroupPosition(501, 501)}, 1.0, OutboxEntries("clinical"))
    ledger.close()
