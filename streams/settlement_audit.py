"""What delivery tells the audit trail: one event for each operation that came to its end, or to a person's desk.

Written after the ledger holds the outcome, beside the next conversations with the EHR: an audit event says what is settled,
and neither Kafka's pace nor its absence delays a write to the chart. What waits stays small, since nothing is sent to an
EHR for long while Kafka is away. Every attempt, with what was sent and answered, is in the ledger.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Literal

from schemas.operation import Operation, Outcome, State
from streams.audit import AuditTrail, Step
from streams.ending import or_end

_log = logging.getLogger(__name__)
_ENDS: dict[State, tuple[str, Literal["success", "refused", "failure"]]] = {
    State.SUCCEEDED: ("observation.charted", "success"),
    State.FAILED: ("operation.failed", "failure"),
    State.HELD: ("operation.held", "failure"),
    State.QUARANTINED: ("operation.quarantined", "refused"),
}


class SettlementAudit:
    """Writes the ends of operations to the trail in batches, one batch at a time."""

    def __init__(self, trail: AuditTrail) -> None:
        self._trail = trail
        self._waiting: list[Step] = []
        self._unconfirmed = 0
        self._writing: asyncio.Task[None] | None = None

    def settled(self, settled: Iterable[tuple[Operation, Outcome]]) -> None:
        """These outcomes are in the ledger. Returns at once; what is to be tried again later is no end."""
        self._waiting += [_step(operation, outcome) for operation, outcome in settled if outcome.state in _ENDS]
        if self._waiting and (self._writing is None or self._writing.done()):
            self._writing = asyncio.create_task(or_end(self._write()))

    async def finish(self, within_s: float) -> None:
        """Wait for what is not confirmed yet; what Kafka does not take in time is given up, and the log says how much."""
        if self._writing is None:
            return
        await asyncio.wait({self._writing}, timeout=within_s)
        if not self._writing.done():
            self._writing.cancel()
            _log.error("%d audit events were not confirmed by Kafka", self._unconfirmed + len(self._waiting))

    async def _write(self) -> None:
        while self._waiting:
            steps, self._waiting = self._waiting, []
            self._unconfirmed = len(steps)
            await self._trail.write(steps)


def _step(operation: Operation, outcome: Outcome) -> Step:
    action, result = _ENDS[outcome.state]
    intent = operation.intent
    return Step(
        intent.tenant_id,
        action,
        result,
        operation.operation_id,
        intent.endpoint,
        intent.source_event_id,
        outcome.code,
    )
