"""`vitalwire ledger release`: held operations are released only with a name and a reason on record."""

import getpass
import json

import pytest

from adapters.ledger import SqlLedger
from schemas.operation import Outcome, State
from schemas.reference import Consent
from streams.audit.verification import broken_links
from tests.doubles.ledger_commands import Everyone, known_intent, run, settled, state_of
from tests.doubles.ledgers import audited

WHY = ("--reason", "scopes granted")


def test_a_release_that_finds_nothing_says_so(ledger: SqlLedger, capsys: pytest.CaptureFixture[str]):
    settled(ledger, State.HELD, "forbidden")
    assert run("release", "--endpoint", "north-epic", "--code", "absent", *WHY) == 0
    assert "no operation is held at this endpoint for absent" in capsys.readouterr().out


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


def test_an_operation_that_the_records_contradict_is_not_released_and_the_reason_is_reported(
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
    ledger.record([known_intent(event, payload=resource)])
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
