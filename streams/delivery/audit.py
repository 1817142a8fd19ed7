"""What delivery tells the audit trail: one event for each operation that came to its end, or to a person's desk, and one
when a result is sent to another chart than it was recorded for.

It is written with the outcome, in one transaction, and reaches Kafka through the outbox: what is settled is audited, and
neither Kafka's pace nor its absence delays a write to the chart. Every attempt, with what was sent and answered, is in the
ledger.
"""

from __future__ import annotations

from typing import Literal

from schemas.audit import Step
from schemas.operation import Operation, Outcome, State
from schemas.ports.ledger import Beside

_ENDS: dict[State, tuple[str, Literal["success", "refused", "failure"]]] = {
    State.SUCCEEDED: ("observation.charted", "success"),
    State.FAILED: ("operation.failed", "failure"),
    State.HELD: ("operation.held", "failure"),
    State.QUARANTINED: ("operation.quarantined", "refused"),
}


def audited(operation: Operation, outcome: Outcome) -> Beside:
    """The event of this end; none for what is to be tried again later."""
    if outcome.state not in _ENDS:
        return Beside("delivery")
    action, result = _ENDS[outcome.state]
    return Beside("delivery", [_step(operation, action, result)._replace(reason=outcome.code)])


def readdressed(operation: Operation) -> Beside:
    """The event of a result that goes to another chart than it was recorded for: the patient's id there was corrected."""
    return Beside("delivery", [_step(operation, "operation.readdressed", "success")._replace(reason="subject_changed")])


def _step(operation: Operation, action: str, result: Literal["success", "refused", "failure"]) -> Step:
    intent = operation.intent
    return Step(intent.tenant_id, action, result, operation.operation_id, intent.endpoint, intent.source.event_id)
