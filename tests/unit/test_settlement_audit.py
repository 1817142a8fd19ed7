from mappings.result_kinds import RESULT_KINDS
from schemas.operation import Operation, Outcome, State
from streams.delivery.audit import SettlementAudit
from tests.doubles.ledgers import intent, operation


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
