"""Writes the outcomes of attempts to the ledger, in batches, while requests to the EHR go on."""

from __future__ import annotations

import asyncio
import logging

from schemas.errors import RetryLater
from schemas.operation import Operation, Outcome
from streams.delivery.observing import DeliveryMetrics
from streams.delivery.ports import DeliveryPorts

log = logging.getLogger(__name__)
LEDGER_RETRY_S = 0.5


class Settlement:
    """Outcomes that arrive while the database writes the last batch are the next batch."""

    def __init__(self, ports: DeliveryPorts, metrics: DeliveryMetrics, settled: asyncio.Event, every_s: float) -> None:
        self._ledger = ports.ledger
        self._endpoint = ports.endpoint
        self._metrics = metrics
        self._settled = settled
        self._every_s = every_s
        self._outcomes: dict[str, tuple[Operation, Outcome]] = {}
        self._pending = asyncio.Event()
        self._stopping = False

    def add(self, operation: Operation, outcome: Outcome) -> None:
        """To be settled with the next batch."""
        self._outcomes[operation.operation_id] = operation, outcome
        self._pending.set()

    def stop(self) -> None:
        """No further outcome comes: settle what there is, and return."""
        self._stopping = True
        self._pending.set()

    async def run(self) -> None:
        """Until stopped, and everything is settled. Sets `settled` after each batch: more may be claimed then."""
        while not self._stopping or self._outcomes:
            await self._pending.wait()
            self._pending.clear()
            batch, self._outcomes = self._outcomes, {}
            next_at_s = _now_s() + self._every_s
            if batch:
                await self._settle(batch)
                self._settled.set()
            await asyncio.sleep(0 if self._stopping else max(next_at_s - _now_s(), 0))

    async def _settle(self, batch: dict[str, tuple[Operation, Outcome]]) -> None:
        outcomes = {operation_id: outcome for operation_id, (_, outcome) in batch.items()}
        claimed = {operation_id: operation for operation_id, (operation, _) in batch.items()}
        while True:
            try:
                stale = await asyncio.to_thread(self._ledger.settle, outcomes, claimed)
            except RetryLater as away:
                self._metrics.ledger_unavailable()
                await asyncio.sleep(away.after_s or LEDGER_RETRY_S)
            else:
                break
        if stale:  # another worker has claimed them, and settles them
            self._metrics.stale(stale)
            log.warning("outcomes came after their lease", extra={"endpoint": self._endpoint, "outcomes": len(stale)})


def _now_s() -> float:
    return asyncio.get_running_loop().time()
