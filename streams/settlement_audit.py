"""What delivery tells the audit trail: one event for each operation that came to its end, or to a person's desk.

It is written with the outcome, in one transaction, and reaches Kafka through the outbox: what is settled is audited, and
neither Kafka's pace nor its absence delays a write to the chart. Every attempt, with what was sent and answered, is in the
ledger.
"""

from __future__ import annotations

from typing import Literal

from schemas.audit import Step
from schemas.operation import Operation, Outcome, State
from schemas.ports import Beside

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
    intent = operation.intent
    step = Step(
        intent.tenant_id,
        action,
        result,
        operation.operation_id,
        intent.endpoint,
        intent.source_event_id,
        outcome.code,
    )
    return Beside("delivery", [step])
