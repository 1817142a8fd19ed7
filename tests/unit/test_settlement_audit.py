from pathlib import Path

import pytest

from mappings.result_kinds import RESULT_KINDS
from schemas.operation import Operation, Outcome, State
from streams.delivery.audit import SettlementAudit
from tests.doubles.ledgers import LEASE_S, audited, done, intent, operation
from vitalwire.roles.ledger_takeover import ledger
from vitalwire.settings import from_environment


def settled(number: int, state: State, code: str | None = None) -> tuple[Operation, Outcome]:
    claimed = operation(intent(f"w{number}", patient="CANARY", subject_id="CANARY"), number)
    again_s = 1.0 if state in (State.DEFERRED, State.UNKNOWN) else None
    return claimed, Outcome(
        state=state, fence=0, code=code, request=b"CANARY", response=b"CANARY", retry_after_s=again_s
    )


def test_each_end_of_an_operation_is_one_step_and_what_will_be_tried_again_is_none():
    told = [SettlementAudit(RESULT_KINDS)(*settled(n, state, f"code-{state}")).steps for n, state in enumerate(State)]

    assert {(step.action, step.outcome, step.reason) for steps in told for step in steps} == {
        ("observation.charted", "success", "code-succeeded"),
        ("operation.failed", "failure", "code-failed"),
        ("operation.held", "failure", "code-held"),
        ("operation.quarantined", "refused", "code-quarantined"),
    }
    assert sum(map(len, told)) == 4


def test_a_step_names_operation_endpoint_and_window_and_nothing_of_the_patient():
    told = SettlementAudit(RESULT_KINDS)(*settled(7, State.SUCCEEDED))

    (step,) = told.steps
    assert (told.role, step.tenant_id, step.operation_id, step.endpoint, step.source) == (
        "delivery", "north", "op-7", "north-epic", "w7"
    )  # fmt: skip
    assert "CANARY" not in repr(told)


def test_every_outcome_that_a_worker_settles_is_in_the_outbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A worker's ledger, as its role opens it, has the audit among its subscribers."""
    monkeypatch.setenv("VITALWIRE_DATABASE", f"sqlite:///{tmp_path / 'ledger.db'}")
    monkeypatch.setenv("VITALWIRE_DATA", str(tmp_path))
    with ledger(from_environment()) as opened:
        opened.record([intent("w1")])
        (claimed,) = opened.claim("north-epic", 1, LEASE_S)
        opened.settle({claimed.operation_id: done(fence=claimed.fence)})
        assert [(event.action, event.operation_id) for event in audited(opened)] == [
            ("observation.charted", claimed.operation_id)
        ]
