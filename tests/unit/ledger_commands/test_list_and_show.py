"""`vitalwire ledger list` and `show`: operations without patient data."""

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console
from sqlalchemy import text

from adapters.ledger import SqlLedger
from adapters.ledger.engine import connect
from schemas.operation import Outcome, State
from tests.doubles.ledger_commands import known_intent, run, settled
from tests.doubles.ports import fixed_clock
from vitalwire.cli import output


def test_an_operation_that_cannot_be_read_is_listed_and_shown_as_such(
    ledger: SqlLedger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    settled(ledger, State.SUCCEEDED, "fine")
    damaged = settled(ledger, State.HELD, "forbidden")
    engine = connect(f"sqlite:///{tmp_path / 'ledger.db'}")
    with engine.begin() as db:
        db.execute(text("UPDATE operations SET intent = x'01' WHERE operation_id = :id"), {"id": damaged})
    engine.dispose()

    assert run("list", "--state", "held", "--json") == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["operation_id"], listed["vital_type"], listed["code"]) == (damaged, "unreadable", "unreadable")
    assert run("show", damaged, "--json") == 0
    assert json.loads(capsys.readouterr().out)["code"] == "unreadable"


def test_held_operations_are_listed_with_code_and_message_and_nothing_of_the_patient(
    ledger: SqlLedger, capsys: pytest.CaptureFixture[str]
):
    held = settled(ledger, State.HELD, "forbidden")
    settled(ledger, State.SUCCEEDED, "accepted")
    settled(ledger, State.HELD, "absent", endpoint="north-fhir")

    assert run("list", "--state", "held", "--endpoint", "north-epic", "--json") == 0
    shown = capsys.readouterr().out
    assert json.loads(shown) == [
        {
            "operation_id": held,
            "endpoint": "north-epic",
            "vital_type": "blood_pressure",
            "state": "held",
            "code": "forbidden",
            "message": "why",
            "created_at": "2026-01-05T10:01:12Z",
        }
    ]
    assert run("list", "--state", "held") == 0
    table = capsys.readouterr().out
    assert held in table
    assert "CANARY" not in shown + table


def charted_after_a_pause(ledger: SqlLedger) -> str:
    """Its first worker stood still for longer than its lease, and said later that the EHR had accepted the result."""
    hour = timedelta(hours=1)
    span = {"device_id": "mon-17", "first_time": fixed_clock() - hour, "last_time": fixed_clock()}
    known = known_intent("paused")
    known = known.model_copy(update={"source": known.source.model_copy(update=span)})
    ledger.record([known])
    (paused,) = ledger.claim("north-epic", 1, 0)
    (second,) = ledger.claim("north-epic", 1, 60)
    late = Outcome(fence=paused.fence, state=State.SUCCEEDED, code="charted", http_status=201)
    assert ledger.settle({paused.operation_id: late}) == [paused.operation_id]
    absent = Outcome(
        fence=second.fence, state=State.HELD, code="absent", message="look", resource_id="obs-4", http_status=200
    )
    ledger.settle({second.operation_id: absent})
    return second.operation_id


def test_a_held_operation_shows_where_to_look_in_the_chart_and_the_outcome_of_each_attempt(
    ledger: SqlLedger, capsys: pytest.CaptureFixture[str]
):
    held = charted_after_a_pause(ledger)

    assert run("show", held, "--json") == 0
    printed = capsys.readouterr().out
    shown = json.loads(printed)
    place = {
        "endpoint": "north-epic",
        "subject_id": "CANARY",
        "resource_id": "obs-4",
        "vital_type": "blood_pressure",
        "device_id": "mon-17",
        "first_reading": "2026-01-05T09:01:12Z",
        "last_reading": "2026-01-05T10:01:12Z",
        "window_id": "paused",
        "code": "absent",
        "message": "look",
    }
    assert {name: shown[name] for name in place} == place
    tried = [(one["state"], one["code"], one["http_status"], one["stale"]) for one in shown["each_attempt"]]
    assert tried == [("succeeded", "stale_claim", 201, True), ("held", "absent", 200, False)]
    assert "may have written" in shown["each_attempt"][0]["message"]
    assert "note" not in printed  # of the resource, nothing: no values measured

    assert run("show", held) == 0
    for_a_person = capsys.readouterr().out
    assert all(value in for_a_person for value in (*place.values(), "stale_claim", "may have written"))


def test_operations_with_an_attempt_that_ended_after_its_lease_can_be_listed(
    ledger: SqlLedger, capsys: pytest.CaptureFixture[str]
):
    paused = charted_after_a_pause(ledger)
    settled(ledger, State.HELD, "absent")
    assert run("list", "--stale", "--json") == 0
    assert [one["operation_id"] for one in json.loads(capsys.readouterr().out)] == [paused]


@pytest.mark.parametrize("columns", ["80", "200"])
def test_what_is_listed_into_a_pipe_is_whole(ledger: SqlLedger, tmp_path: Path, columns: str):
    held = settled(ledger, State.HELD, "forbidden", endpoint="north-epic-of-a-hospital-with-quite-a-long-name")
    database = {"VITALWIRE_DATABASE": f"sqlite:///{tmp_path / 'ledger.db'}", "COLUMNS": columns}
    command = [sys.executable, "-m", "vitalwire", "ledger", "list", "--state", "held"]
    piped = subprocess.run(command, env=os.environ | database, capture_output=True, text=True, check=True).stdout
    assert held in piped
    assert "north-epic-of-a-hospital-with-quite-a-long-name" in piped
    assert "2026-01-05T10:01:12Z" in piped


def test_a_narrow_terminal_does_not_cut_ids(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr(output, "out", Console(width=80))
    name = "e8274df935b79adc11e23b8a5b2000ff"
    row = (
        name,
        "north-epic-of-the-hospital",
        "blood_pressure",
        "held",
        "absent",
        "a sentence " * 9,
        "2026-01-05T10:01:12Z",
    )
    output.table("Operations", ("operation_id", "endpoint", "vital", "state", "code", "message", "created_at"), [row])
    assert name in capsys.readouterr().out


def test_without_conditions_operations_are_counted(ledger: SqlLedger, capsys: pytest.CaptureFixture[str]):
    settled(ledger, State.HELD, "forbidden")
    assert run("list", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"north-epic": {"held": 1}}


def test_a_ledger_of_a_newer_version_is_wrong_configuration_and_no_defect(
    ledger: SqlLedger, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    engine = connect(f"sqlite:///{tmp_path / 'ledger.db'}")
    with engine.begin() as db:
        db.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    assert run("list") == 2
    assert "of a newer Vitalwire" in capsys.readouterr().err


def test_a_list_that_is_cut_says_so(ledger: SqlLedger, capsys: pytest.CaptureFixture[str]):
    for _ in range(3):
        settled(ledger, State.HELD, "forbidden")
    assert run("list", "--state", "held", "--limit", "2") == 0
    assert "--limit" in capsys.readouterr().err
