"""The delivery role of one endpoint: takes operations from the ledger and brings each to its end in the EHR.

Per patient strictly in order (the ledger gives one at a time), across patients at once. The database is never waited for
by a request: operations are claimed and settled in batches, beside the conversations with the EHR.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from schemas.capabilities import Capabilities
from schemas.endpoint_kinds import EndpointKind
from schemas.errors import RetryLater
from schemas.operation import Operation, Outcome, State
from schemas.ports.clock import Clock
from schemas.ports.ehr import EhrEndpoint
from schemas.ports.ledger import Ledger
from schemas.ports.observer import Observer
from streams.delivery.attempt import Attempted, Attempts, Reviewing
from streams.delivery.audit import audited
from streams.delivery.verdict import Verdict
from streams.runtime.backoff import backoff_s
from streams.runtime.fail_fast import exit_on_error

log = logging.getLogger(__name__)
LONGEST_PAUSE_S = 30.0
LEDGER_AWAY_S = 0.5


@dataclass(frozen=True, slots=True)
class Pace:
    """How quickly and how patiently delivery works."""

    poll_s: float = 0.025
    settle_every_s: float = 0.1
    """Under load outcomes are written together; an outcome after a quiet time is written at once."""
    prefetch: int = 3
    """Operations claimed for each that the EHR may work on at once. A crash leaves no more than these in doubt."""
    lease_s: float = 240.0
    search_delays_s: tuple[float, ...] = (0.0, 0.5, 2.0)
    encounter_wait_s: float = 900.0
    stop_within_s: float = 40.0


class Delivery:
    """Writes one endpoint's operations. Set `wake` when there may be work, to be quicker than the next poll."""

    def __init__(  # noqa: PLR0913 (the ports it joins)
        self,
        endpoint: str,
        ehr: EhrEndpoint,
        ledger: Ledger,
        capabilities: Capabilities,
        clock: Clock,
        observer: Observer,
        review: Reviewing,
        *,
        kind: EndpointKind,
        charted: Callable[[Operation], None] = lambda _operation: None,
        spread: Callable[[], float] = lambda: 0.5,
        pace: Pace = Pace(),
    ) -> None:
        self.wake = asyncio.Event()
        self.places = asyncio.Semaphore(capabilities.concurrency)
        self._endpoint = endpoint
        self._ehr = ehr
        self._ledger = ledger
        self._clock = clock
        self._observer = observer
        self._charted = charted
        self._spread = spread
        self._pace = pace
        self._concurrency = capabilities.concurrency
        self._longest_send_s = 3 * capabilities.timeout_s
        self._working: set[asyncio.Task[None]] = set()
        self._outcomes: dict[str, tuple[Operation, Outcome]] = {}
        self._settle_now = asyncio.Event()
        self._stopping = False
        self._troubles = 0
        self._paused_until = 0.0
        self._attempts = Attempts(
            kind, capabilities, ehr, review, clock, self, ledger, pace.search_delays_s, pace.encounter_wait_s
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until `stop`; then send nothing more, wait for answers under way, and settle them."""
        settling = asyncio.create_task(exit_on_error(self._settle_as_they_come()))
        try:
            while not stop.is_set():
                if not await self._take():
                    await self._rest()
        finally:
            self._stopping = True
            if self._working:
                await asyncio.wait(self._working, timeout=self._pace.stop_within_s)
            for task in self._working:
                task.cancel()
            self._settle_now.set()
            await asyncio.wait({settling}, timeout=self._pace.stop_within_s)
            settling.cancel()
            await self._ehr.close()

    def closed(self) -> str | None:
        """Why nothing may be sent now, or None."""
        if self._stopping:
            return "stopping"
        return "endpoint_paused" if self._now_s() < self._paused_until else None

    # -- claiming -----------------------------------------------------------------------------------------------------

    async def _take(self) -> bool:
        """Claim as much as there is room for; True if there may be more at once."""
        room = self._room()
        if room == 0:
            return False
        leased_until_s = self._now_s() + self._pace.lease_s
        try:
            claimed = await asyncio.to_thread(self._ledger.claim, self._endpoint, room, self._pace.lease_s)
        except RetryLater as away:
            self._observer.count("retries_total", dependency="ledger")
            await asyncio.sleep(away.after_s or LEDGER_AWAY_S)
            return True
        for operation in claimed:
            if operation.state is State.HELD:
                self._observer.count("verdicts_total", endpoint=self._endpoint, state=str(operation.state))
                continue
            task = asyncio.create_task(exit_on_error(self._deliver(operation, leased_until_s)))
            self._working.add(task)
            task.add_done_callback(self._done)
        return len(claimed) == room

    def _room(self) -> int:
        """How many more to claim: few at a time would make the database the bottleneck."""
        if self.closed() is not None:
            return 0
        if self._troubles:
            return 0 if self._working else 1  # one operation finds out whether the endpoint is back
        room = self._concurrency * self._pace.prefetch - len(self._working)
        return room if len(self._working) <= self._concurrency else 0

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(self._pace.poll_s):
                await self.wake.wait()
        except TimeoutError:
            return
        self.wake.clear()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._working.discard(task)
        self.wake.set()

    # -- delivering ---------------------------------------------------------------------------------------------------

    async def _deliver(self, operation: Operation, leased_until_s: float) -> None:
        latest_s = leased_until_s - self._longest_send_s
        attempted = await self._attempts.make(operation, lambda: self._now_s() < latest_s)
        self._note_trouble(attempted)
        self._outcomes[operation.operation_id] = operation, self._outcome(operation, attempted)
        self._settle_now.set()
        self._measure(operation, attempted.verdict)
        if attempted.verdict.state is State.SUCCEEDED:
            self._charted(operation)

    def _outcome(self, operation: Operation, attempted: Attempted) -> Outcome:
        verdict = attempted.verdict
        return Outcome(
            state=verdict.state,
            fence=operation.fence,
            http_status=attempted.http_status,
            code=verdict.code,
            message=verdict.message,
            resource_id=verdict.resource_id,
            version=verdict.version,
            retry_after_s=self._retry_after_s(operation, verdict),
            request=attempted.request,
            response=attempted.response,
            in_doubt=attempted.in_doubt,
        )

    def _retry_after_s(self, operation: Operation, verdict: Verdict) -> float | None:
        if verdict.state not in (State.DEFERRED, State.UNKNOWN):
            return None
        if verdict.code == "stopping":
            return 0.0
        if verdict.code == "lease_short":  # at once it would go round between claim and settling
            return min(backoff_s(operation.attempts, self._spread()), LONGEST_PAUSE_S)
        if verdict.whole_endpoint or verdict.code == "endpoint_paused":
            return max(self._paused_until - self._now_s(), 0.0)  # the pause paces the endpoint; nothing waits longer
        return max(verdict.retry_after_s or 0.0, backoff_s(operation.attempts, self._spread()))

    def _note_trouble(self, attempted: Attempted) -> None:
        """Trouble of the whole endpoint pauses it, longer each time; an answer to anything shows that it is back."""
        verdict = attempted.verdict
        if not verdict.whole_endpoint:
            if attempted.http_status is not None and verdict.state is not State.UNKNOWN:
                self._troubles = 0
            return
        now_s = self._now_s()
        if now_s >= self._paused_until:
            self._troubles += 1
        pause_s = min(backoff_s(self._troubles, self._spread()), LONGEST_PAUSE_S)
        self._paused_until = max(self._paused_until, now_s + max(verdict.retry_after_s or 0.0, pause_s))

    def _measure(self, operation: Operation, verdict: Verdict) -> None:
        self._observer.count("verdicts_total", endpoint=self._endpoint, state=str(verdict.state))
        if verdict.state is not State.SUCCEEDED:
            return
        now = self._clock()
        waited_s = max((now - operation.created_at).total_seconds(), 0.0)
        self._observer.seconds("intent_to_charted_seconds", waited_s, endpoint=self._endpoint)
        closed_at = operation.intent.produced_at
        if closed_at is not None:
            waited_s = (now - closed_at).total_seconds()
            self._observer.seconds("window_to_charted_seconds", waited_s, endpoint=self._endpoint)

    # -- settling -----------------------------------------------------------------------------------------------------

    async def _settle_as_they_come(self) -> None:
        """Everything that ended while the database worked on the last batch is the next batch."""
        while True:
            await self._settle_now.wait()
            self._settle_now.clear()
            batch, self._outcomes = self._outcomes, {}
            next_at_s = self._now_s() + self._pace.settle_every_s
            await self._settle(batch)
            self.wake.set()
            await asyncio.sleep(0 if self._stopping else max(next_at_s - self._now_s(), 0))
            if self._stopping and not self._working and not self._outcomes:
                return

    async def _settle(self, batch: dict[str, tuple[Operation, Outcome]]) -> None:
        outcomes = {operation_id: outcome for operation_id, (_, outcome) in batch.items()}
        beside = {operation_id: audited(*ended) for operation_id, ended in batch.items()}
        while True:
            try:
                stale = await asyncio.to_thread(self._ledger.settle, outcomes, beside)
            except RetryLater as away:
                self._observer.count("retries_total", dependency="ledger")
                await asyncio.sleep(away.after_s or LEDGER_AWAY_S)
            else:
                break
        if stale:  # another worker has them, who will say how they ended
            self._observer.count("stale_outcomes_total", len(stale), endpoint=self._endpoint)
            log.warning("outcomes came after their lease", extra={"endpoint": self._endpoint, "outcomes": len(stale)})

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()
