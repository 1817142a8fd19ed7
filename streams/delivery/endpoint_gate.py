"""Limits concurrent requests to one endpoint, pauses it after failures, and schedules retries."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from schemas.operation import Operation, State
from streams.delivery.attempt_result import AttemptResult
from streams.delivery.verdict import Verdict
from streams.runtime.backoff import backoff_s

LONGEST_PAUSE_S = 30.0


class EndpointGate:
    """Closed while the endpoint is paused, and permanently once the worker stops."""

    def __init__(self, concurrency: int, spread: Callable[[], float]) -> None:
        self.slots = asyncio.Semaphore(concurrency)
        """One slot per concurrent request."""
        self.concurrency = concurrency
        self._spread = spread
        self._stopping = False
        self._failures = 0
        self._paused_until_s = 0.0

    def stop(self) -> None:
        """Nothing more is sent."""
        self._stopping = True

    def closed(self) -> str | None:
        """Why nothing may be sent now (a code), or None."""
        if self._stopping:
            return "stopping"
        return "endpoint_paused" if _now_s() < self._paused_until_s else None

    @property
    def is_probing(self) -> bool:
        """The endpoint failed and has not responded since: one operation is sent as a probe."""
        return self._failures > 0

    def note(self, result: AttemptResult) -> None:
        """A failure of the whole endpoint pauses it, with exponential backoff; any response resets the backoff."""
        verdict = result.verdict
        if not verdict.whole_endpoint:
            if result.http_status is not None and verdict.state is not State.UNKNOWN:
                self._failures = 0
            return
        now_s = _now_s()
        if now_s >= self._paused_until_s:
            self._failures += 1
        pause_s = min(backoff_s(self._failures, self._spread()), LONGEST_PAUSE_S)
        self._paused_until_s = max(self._paused_until_s, now_s + max(verdict.retry_after_s or 0.0, pause_s))

    def retry_after_s(self, operation: Operation, verdict: Verdict) -> float | None:
        """When the operation is due again; None if it is not retried."""
        if verdict.state not in (State.DEFERRED, State.UNKNOWN):
            return None
        if verdict.code == "stopping":
            return 0.0
        if verdict.code == "lease_short":  # due at once, it would only alternate between claim and settlement
            return min(backoff_s(operation.attempts, self._spread()), LONGEST_PAUSE_S)
        if verdict.whole_endpoint or verdict.code == "endpoint_paused":
            return max(self._paused_until_s - _now_s(), 0.0)  # the pause paces the endpoint; nothing waits longer
        return max(verdict.retry_after_s or 0.0, backoff_s(operation.attempts, self._spread()))


def _now_s() -> float:
    return asyncio.get_running_loop().time()
