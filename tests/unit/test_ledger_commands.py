"""`vitalwire ledger`: what waits is listed without patient data, and released only with a name and a reason on record."""

import getpass
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console
from sqlalchemy import text

from adapters.ledger import SqlLedger, migrate, open_ledger
from adapters.ledger.engine import connect
from schemas.instants import epoch_us
from schemas.operation import Outcome, State
from schemas.reference import Consent, PatientRecord, Provision
from streams.audit.verification import broken_links
from tests.doubles.intents import intent
from tests.doubles.ledgers import audited
from tests.doubles.ports import StaticReference, fixed_clock
from vitalwire import release_review
from vitalwire.cli import main, output

WHY = ("--reason", "scopes granted")


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqlLedger]:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    monkeypatch.setenv("VITALWIRE_DATABASE", url)
    monkeypatch.delenv("VITALWIRE_LEDGER_KEY_FILE", raising=False)
    migrate(url)
    opened = open_ledger(url, None, lambda _db: epoch_us(fixed_clock()))
    yield opened
    opened.close()


class Everyone(StaticReference):
    """Knows every patient under one id, and all permit everything, but for what a test says."""

    subject_id = "CANARY"

    def patient(self, tenant_id: str, patient_id: str) -> PatientRecord:
        ids = dict.fromkeys(("north-epic", "north-fhir"), self.subject_id)
        return PatientRecord(tenant_id=tenant_id, patient_id=patient_id, subject_ids=ids)

    def consent(self, tenant_id: str, patient_id: str) -> Consent | None:
        if (tenant_id, patient_id) in self.consents:
            return self.consents[tenant_id, patient_id]
        permits = [Provision(purpose="vitals")]
        return Consent(tenant_id=tenant_id, patient_id=patient_id, status="active", permits=permits)


@pytest.fixture(autouse=True)
def reference(monkeypatch: pytest.MonkeyPatch) -> Everyone:
    records = Everyone()

    @contextmanager
    def current(_settings: object) -> Iterator[Everyone]:
        yield records

    monkeypatch.setattr(release_review, "current_reference", current)
    return records


def settled(ledger: SqlLedger, state: State, code: str, endpoint: str = "north-epic") -> str:
    event = f"w{sum(sum(counts.values()) for counts in ledger.states().values())}"
    ledger.record([intent(event, patient=event, endpoint=endpoint)])
    (operation,) = ledger.claim(endpoint, 1, 60)
    ledger.settle({operation.operation_id: Outcome(fence=operation.fence, state=state, code=code, message="why")})
    return operation.operation_id


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


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["ledger", *arguments])
    return int(ended.value.code or 0)


def state_of(ledger: SqlLedger, operation_id: str) -> State:
    operation = ledger.operation(operation_id)
    assert operation is not None
    return operation.state


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
    known = intent("paused")
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


def test_a_person_at_the_chart_is_told_where_to_look_and_what_each_attempt_brought(
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


def test_a_release_that_finds_nothing_says_so(ledger: SqlLedger, capsys: pytest.CaptureFixture[str]):
    settled(ledger, State.HELD, "forbidden")
    assert run("release", "--endpoint", "north-epic", "--code", "absent", *WHY) == 0
    assert "nothing is held there for absent" in capsys.readouterr().out


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


def test_all_that_is_held_for_a_code_is_released_and_who_ordered_it_is_audited(ledger: SqlLedger):
    wanted = [settled(ledger, State.HELD, "forbidden") for _ in range(2)]
    others = [settled(ledger, State.HELD, "absent"), settled(ledger, State.HELD, "forbidden", endpoint="north-fhir")]

    assert run("release", "--endpoint", "north-epic", "--code", "forbidden", *WHY) == 0

    assert [state_of(ledger, one) for one in wanted] == [State.PENDING, State.PENDING]
    assert [state_of(ledger, one) for one in others] == [State.HELD, State.HELD]
    events = audited(ledger)
    assert [(e.operation_id, e.action, e.actor, e.reason, e.role) for e in events] == [
        (one, "operation.release_ordered", getpass.getuser(), "scopes granted", "operator") for one in wanted
    ]
    assert broken_links(events) == []


def test_of_ids_only_those_that_are_held_are_released_and_the_others_named(
    ledger: SqlLedger, capsys: pytest.CaptureFixture[str]
):
    held, done = settled(ledger, State.HELD, "forbidden"), settled(ledger, State.SUCCEEDED, "accepted")

    assert run("release", held, done, "unheard-of", *WHY, "--json") == 1

    told = {"released": [held], "readdressed": [], "kept": {}, "not_held": sorted([done, "unheard-of"])}
    assert json.loads(capsys.readouterr().out) == told
    assert state_of(ledger, done) is State.SUCCEEDED
    assert len(audited(ledger)) == 1


def test_what_the_records_speak_against_is_not_released_and_the_reason_told(
    ledger: SqlLedger, reference: Everyone, capsys: pytest.CaptureFixture[str]
):
    refused, free = (settled(ledger, State.HELD, "forbidden") for _ in range(2))
    patient = ledger.operation(refused).intent.patient_id
    reference.consents["north", patient] = Consent(tenant_id="north", patient_id=patient, status="inactive")

    assert run("release", refused, free, *WHY, "--json") == 1

    told = {"released": [free], "readdressed": [], "kept": {refused: "no_consent"}, "not_held": []}
    assert json.loads(capsys.readouterr().out) == told
    assert state_of(ledger, refused) is State.HELD
    assert run("release", refused, *WHY) == 1
    assert f"{refused} stays held (no_consent)" in capsys.readouterr().err


def test_a_release_after_a_merge_says_that_it_goes_to_the_corrected_patient(
    ledger: SqlLedger, reference: Everyone, capsys: pytest.CaptureFixture[str]
):
    event = "merged"
    resource = {"resourceType": "Observation", "subject": {"reference": "Patient/CANARY"}}
    ledger.record([intent(event, patient=event).model_copy(update={"payload": resource})])
    (operation,) = ledger.claim("north-epic", 1, 60)
    ledger.settle({operation.operation_id: Outcome(fence=operation.fence, state=State.HELD, code="4107")})
    reference.subject_id = "survivor"

    assert run("release", operation.operation_id, *WHY) == 0

    assert state_of(ledger, operation.operation_id) is State.PENDING
    assert "corrected id" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ("release", "some-id"),
        ("release", *WHY),
        ("release", "--endpoint", "north-epic", *WHY),
        ("release", "some-id", "--endpoint", "north-epic", "--code", "absent", *WHY),
        ("release", "some-id", "--code", "absent", *WHY),
        ("list", "--state", "stuck"),
    ],
)
def test_a_release_without_reason_or_without_a_clear_choice_is_wrong_use(
    ledger: SqlLedger, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
):
    assert run(*arguments) == 2
    assert capsys.readouterr().err.strip()
