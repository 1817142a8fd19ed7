"""Whether an operation may be sent: checked before an attempt, once it has a slot, and before the first byte is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from schemas.errors import RetryLater
from schemas.operation import Operation, State
from streams.delivery.audit import readdressed
from streams.delivery.endpoint_gate import EndpointGate
from streams.delivery.ports import DeliveryPorts
from streams.delivery.review import Readdress, Stop
from streams.delivery.verdict import Verdict, verdict_of

LeaseCheck = Callable[[], bool]
"""Whether the claim's lease leaves enough time to send."""


class PresendChecks:
    """The gate, the lease and the current records of one endpoint."""

    def __init__(self, ports: DeliveryPorts, gate: EndpointGate) -> None:
        self._ports = ports
        self._gate = gate

    async def reviewed(self, operation: Operation) -> Operation | Verdict:
        """The operation as the current records require it. A corrected subject id is stored in the ledger before it is used."""
        review = self._review(operation)
        if not isinstance(review, Readdress):
            return operation if review is None else review
        claim, event = (operation.operation_id, operation.fence), readdressed(operation)
        if not await asyncio.to_thread(self._ports.ledger.readdress, *claim, review.intent, event):
            return verdict_of(State.DEFERRED, "stale_claim")
        return operation.model_copy(update={"intent": review.intent})

    def blocked(self, operation: Operation, lease_allows: LeaseCheck) -> Verdict | None:
        """The verdict if it may not be sent now, or None."""
        closed = self._gate.closed() or (None if lease_allows() else "lease_short")
        if closed is not None:
            return verdict_of(State.DEFERRED, closed)
        review = self._review(operation)
        return verdict_of(State.DEFERRED, "readdressed") if isinstance(review, Readdress) else review

    def _review(self, operation: Operation) -> Readdress | Verdict | None:
        """What the current records require: another subject id, or that it is not sent; None if they agree."""
        try:
            review = self._ports.review(operation, self._ports.clock())
        except RetryLater as away:
            return verdict_of(State.DEFERRED, "consent_unavailable")._replace(retry_after_s=away.after_s)
        return verdict_of(review.state, review.code) if isinstance(review, Stop) else review
