"""The delivery role of one endpoint: claims operations from the ledger and delivers each to the EHR.

Operations run strictly in order per patient (the ledger returns one at a time) and concurrently across patients. No request
waits for the database: operations are claimed and settled in batches, concurrently with requests to the EHR.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from schemas.errors import RetryLater
from schemas.operation import Operation, Outcome, State
from streams.delivery.attempt import Attempts
from streams.delivery.attempt_result import AttemptResult
from streams.delivery.endpoint_gate import EndpointGate
from streams.delivery.observing import DeliveryMetrics
from streams.delivery.ports import DeliveryPorts
from streams.delivery.settlement import LEDGER_RETRY_S, Settlement
from streams.runtime.fail_fast import exit_on_error


@dataclass(frozen=True, slots=True)
class Pace:
    """Polling intervals, batch sizes and time limits of delivery."""

    poll_s: float = 0.025
    settle_every_s: float = 0.1
    """Under load outcomes are written together; an outcome after a quiet time is written at once."""
    prefetch: int = 3
    """Operations claimed per concurrent request. After a crash at most these are in doubt."""
    lease_s: float = 240.0
    search_delays_s: tuple[float, ...] = (0.0, 0.5, 2.0)
    encounter_wait_s: float = 900.0
    stop_within_s: float = 40.0


class Delivery:
    """Writes one endpoint's operations. Set `wake` when there may be work, to poll at once."""

    def __init__(
        self,
        ports: DeliveryPorts,
        metrics: DeliveryMetrics,
        *,
        on_charted: Callable[[Operation], None] = lambda _operation: None,
        spread: Callable[[], float] = lambda: 0.5,
        pace: Pace = Pace(),
    ) -> None:
        self.wake = asyncio.Event()
        self._ports = ports
        self._metrics = metrics
        self._on_charted = on_charted
        self._pace = pace
        self._longest_send_s = 3 * ports.capabilities.timeout_s
        self._working: set[asyncio.Task[None]] = set()
        self._gate = EndpointGate(ports.capabilities.concurrency, spread)
        self._attempts = Attempts(ports, self._gate, pace.search_delays_s, pace.encounter_wait_s)
        self._settlement = Settlement(ports, metrics, self.wake, pace.settle_every_s)

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop`; then send nothing more, wait for requests in flight, and settle them."""
        settling = asyncio.create_task(exit_on_error(self._settlement.run()))
        try:
            while not stop.is_set():
                if not await self._claim():
                    await self._rest()
        finally:
            self._gate.stop()
            if self._working:
                await asyncio.wait(self._working, timeout=self._pace.stop_within_s)
            for task in self._working:
                task.cancel()
            self._settlement.stop()
            await asyncio.wait({settling}, timeout=self._pace.stop_within_s)
            settling.cancel()
            await self._ports.ehr.close()

    # -- claiming -----------------------------------------------------------------------------------------------------

    async def _claim(self) -> bool:
        """Claim as many operations as there is room for; True if more may be due."""
        room = self._room()
        if room == 0:
            return False
        leased_until_s = _now_s() + self._pace.lease_s
        try:
            claimed = await asyncio.to_thread(self._ports.ledger.claim, self._ports.endpoint, room, self._pace.lease_s)
        except RetryLater as away:
            self._metrics.ledger_unavailable()
            await asyncio.sleep(away.after_s or LEDGER_RETRY_S)
            return True
        for operation in claimed:
            if operation.state is State.HELD:
                self._metrics.unreadable(operation)
            else:
                self._start(operation, leased_until_s)
        return len(claimed) == room

    def _room(self) -> int:
        """How many more to claim. Small claims are avoided, because they would make the database the bottleneck."""
        if self._gate.closed() is not None:
            return 0
        if self._gate.is_probing:
            return 0 if self._working else 1
        room = self._gate.concurrency * self._pace.prefetch - len(self._working)
        return room if len(self._working) <= self._gate.concurrency else 0

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(self._pace.poll_s):
                await self.wake.wait()
        except TimeoutError:
            return
        self.wake.clear()

    # -- delivering ---------------------------------------------------------------------------------------------------

    def _start(self, operation: Operation, leased_until_s: float) -> None:
        task = asyncio.create_task(exit_on_error(self._deliver(operation, leased_until_s)))
        self._working.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._working.discard(task)
        self.wake.set()

    async def _deliver(self, operation: Operation, leased_until_s: float) -> None:
        latest_s = leased_until_s - self._longest_send_s
        result = await self._attempts.make(operation, lambda: _now_s() < latest_s)
        self._gate.note(result)
        self._settlement.add(operation, self._outcome(operation, result))
        self._metrics.attempted(operation, result.verdict)
        if result.verdict.state is State.SUCCEEDED:
            self._on_charted(operation)

    def _outcome(self, operation: Operation, result: AttemptResult) -> Outcome:
        verdict = result.verdict
        return Outcome(
            state=verdict.state,
            fence=operation.fence,
            http_status=result.http_status,
            code=verdict.code,
            message=verdict.message,
            resource_id=verdict.resource_id,
            version=verdict.version,
            retry_after_s=self._gate.retry_after_s(operation, verdict),
            request=result.request,
            response=result.response,
            in_doubt=result.in_doubt,
        )


def _now_s() -> float:
    return asyncio.get_running_loop().time()
