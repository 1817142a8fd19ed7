"""Metrics of the delivery to one endpoint."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.operation import Operation, State
from schemas.ports.clock import Clock
from schemas.ports.observer import Observer
from streams.delivery.verdict import Verdict


class DeliveryMetrics:
    """Verdicts, latencies, and retries of ledger calls."""

    def __init__(self, endpoint: str, observer: Observer, clock: Clock) -> None:
        self._endpoint = endpoint
        self._observer = observer
        self._clock = clock

    def unreadable(self, operation: Operation) -> None:
        """The ledger contains an operation that cannot be decrypted."""
        self._verdict(operation.state)

    def attempted(self, operation: Operation, verdict: Verdict) -> None:
        """An attempt has its verdict."""
        self._verdict(verdict.state)
        if verdict.state is not State.SUCCEEDED:
            return
        now = self._clock()
        waited_s = max((now - operation.created_at).total_seconds(), 0.0)
        self._observer.seconds("intent_to_charted_seconds", waited_s, endpoint=self._endpoint)
        produced_at = operation.intent.produced_at
        if produced_at is not None:
            waited_s = (now - produced_at).total_seconds()
            self._observer.seconds("window_to_charted_seconds", waited_s, endpoint=self._endpoint)

    def ledger_unavailable(self) -> None:
        """A call to the ledger is retried."""
        self._observer.count("retries_total", dependency="ledger")

    def stale(self, operation_ids: Sequence[str]) -> None:
        """Outcomes were reported after their lease had expired."""
        self._observer.count("stale_outcomes_total", len(operation_ids), endpoint=self._endpoint)

    def _verdict(self, state: State) -> None:
        self._observer.count("verdicts_total", endpoint=self._endpoint, state=str(state))
