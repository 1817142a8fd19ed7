"""A ledger whose calls are timed: `ledger_seconds` by call, those that fail included."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from time import perf_counter

from schemas.operation import Intent, Operation, Outcome, State
from schemas.ports import Ledger, Observer, Recorded


class ObservedLedger:
    """`schemas.ports.Ledger` around another."""

    def __init__(self, ledger: Ledger, observer: Observer) -> None:
        self._ledger = ledger
        self._observer = observer

    def record(self, intents: Sequence[Intent], now: datetime) -> list[Recorded]:
        """Insert intents."""
        with self._timed("record"):
            return self._ledger.record(intents, now)

    def claim(self, endpoint: str, limit: int, now: datetime, lease_s: float) -> list[Operation]:
        """Take work."""
        with self._timed("claim"):
            return self._ledger.claim(endpoint, limit, now, lease_s)

    def settle(self, outcomes: Mapping[str, Outcome], now: datetime) -> None:
        """Write what became of it."""
        with self._timed("settle"):
            self._ledger.settle(outcomes, now)

    def operation(self, operation_id: str) -> Operation | None:
        """One operation."""
        with self._timed("operation"):
            return self._ledger.operation(operation_id)

    def states(self) -> dict[str, dict[State, int]]:
        """endpoint → state → count."""
        with self._timed("states"):
            return self._ledger.states()

    def source_ids(self) -> set[str]:
        """Every window_id that stands in an intent."""
        with self._timed("source_ids"):
            return self._ledger.source_ids()

    @contextmanager
    def _timed(self, call: str) -> Iterator[None]:
        began = perf_counter()
        try:
            yield
        finally:
            self._observer.seconds("ledger_seconds", perf_counter() - began, call=call)
