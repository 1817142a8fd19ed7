"""The audit events of delivery: one when an operation becomes terminal or needs review, and one when a result is sent to
another chart than it was recorded for.

An event is written with its outcome, in one transaction, and reaches Kafka through the outbox: what is settled is audited, and
neither Kafka's pace nor its absence delays a write to the chart. Every attempt, with the bytes sent and received, is in the
ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from mappings.result_kind import AnyResultKind
from schemas.audit import Step
from schemas.operation import Operation, Outcome, State
from schemas.ports.ledger import OutboxEntries

AuditOutcome = Literal["success", "refused", "failure"]

_ACTIONS: dict[State, tuple[str, AuditOutcome]] = {
    State.FAILED: ("operation.failed", "failure"),
    State.HELD: ("operation.held", "failure"),
    State.QUARANTINED: ("operation.quarantined", "refused"),
}


class SettlementAudit:
    """Subscribes to the settlement of operations: the event of an outcome; none for what is retried."""

    def __init__(self, result_kinds: Mapping[str, AnyResultKind]) -> None:
        self._result_kinds = result_kinds

    def __call__(self, operation: Operation, outcome: Outcome) -> OutboxEntries:
        """What goes out with the outcome."""
        action = self._action(operation, outcome.state)
        return OutboxEntries(
            "delivery", [] if action is None else [_step(operation, *action)._replace(reason=outcome.code)]
        )

    def _action(self, operation: Operation, state: State) -> tuple[str, AuditOutcome] | None:
        if state is State.SUCCEEDED:
            return self._result_kinds[operation.intent.resource_type].charted_action, "success"
        return _ACTIONS.get(state)


def readdressed(operation: Operation) -> OutboxEntries:
    """The event of a result that is sent to another chart than it was recorded for: the patient's id was corrected."""
    return OutboxEntries(
        "delivery", [_step(operation, "operation.readdressed", "success")._replace(reason="subject_changed")]
    )


def _step(operation: Operation, action: str, outcome: AuditOutcome) -> Step:
    intent = operation.intent
    return Step(intent.tenant_id, action, outcome, operation.operation_id, intent.endpoint, intent.source.event_id)
