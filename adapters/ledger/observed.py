"""A ledger whose calls are timed: `ledger_seconds` by call, those that fail included."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from time import perf_counter

from schemas.config import LedgerKeeping
from schemas.operation import Intent, Operation, Outcome, State
from schemas.ports.kafka import Position
from schemas.ports.ledger import Beside, Ledger, Parcel, Recorded
from schemas.ports.observer import Observer


class ObservedLedger:
    """`schemas.ports.Ledger` around another."""

    def __init__(self, ledger: Ledger, observer: Observer) -> None:
        self._ledger = ledger
        self._observer = observer

    def record(
        self,
        intents: Sequence[Intent],
        position: Position | None = None,
        beside: Callable[[Sequence[Recorded]], Beside] | None = None,
    ) -> list[Recorded]:
        """Insert intents, and where they came from."""
        with self._timed("record"):
            return self._ledger.record(intents, position, beside)

    def positions(self, topic: str) -> dict[int, int]:
        """partition → from where on to read."""
        with self._timed("positions"):
            return self._ledger.positions(topic)

    def count_removed(self, position: Position, since: int, beside: Callable[[int], Beside]) -> int:
        """Count what retention removed."""
        with self._timed("count_removed"):
            return self._ledger.count_removed(position, since, beside)

    def removed_unread(self, topic: str) -> dict[int, int]:
        """partition → what retention removed unread."""
        with self._timed("removed_unread"):
            return self._ledger.removed_unread(topic)

    def claim(self, endpoint: str, limit: int, lease_s: float) -> list[Operation]:
        """Take work."""
        with self._timed("claim"):
            return self._ledger.claim(endpoint, limit, lease_s)

    def settle(self, outcomes: Mapping[str, Outcome], beside: Mapping[str, Beside] | None = None) -> list[str]:
        """Write what became of it."""
        with self._timed("settle"):
            return self._ledger.settle(outcomes, beside)

    def readdress(self, operation_id: str, fence: int, intent: Intent, beside: Beside | None = None) -> bool:
        """Store the patient's corrected id at the endpoint."""
        with self._timed("readdress"):
            return self._ledger.readdress(operation_id, fence, intent, beside)

    def operation(self, operation_id: str) -> Operation | None:
        """One operation."""
        with self._timed("operation"):
            return self._ledger.operation(operation_id)

    def states(self) -> dict[str, dict[State, int]]:
        """endpoint → state → count."""
        with self._timed("states"):
            return self._ledger.states()

    def tidy(self, keeping: LedgerKeeping) -> bool:
        """Forget what is old enough."""
        with self._timed("tidy"):
            return self._ledger.tidy(keeping)

    def source_ids(self) -> set[str]:
        """Every window_id that stands in an intent."""
        with self._timed("source_ids"):
            return self._ledger.source_ids()

    def name(self, *parts: str) -> str:
        """How the ledger calls a patient or a device."""
        return self._ledger.name(*parts)

    def charted(
        self,
        *,
        device: str | None = None,
        patient: str | None = None,
        first: datetime | None = None,
        last: datetime | None = None,
        after: int = 0,
        limit: int = 500,
    ) -> list[Operation]:
        """Succeeded operations of a device or patient."""
        with self._timed("charted"):
            return self._ledger.charted(
                device=device, patient=patient, first=first, last=last, after=after, limit=limit
            )

    def reviewed(self, kind: str) -> dict[str, str]:
        """name → fingerprint of what was reviewed."""
        with self._timed("reviewed"):
            return self._ledger.reviewed(kind)

    def mark_reviewed(self, kind: str, fingerprints: Mapping[str, str | None], beside: Beside | None = None) -> None:
        """Remember what was reviewed."""
        with self._timed("mark_reviewed"):
            self._ledger.mark_reviewed(kind, fingerprints, beside)

    def report_once(self, kind: str, besides: Mapping[str, tuple[str, Beside]]) -> list[str]:
        """Remember names that are not known yet, and tell of each."""
        with self._timed("tell_once"):
            return self._ledger.report_once(kind, besides)

    def waiting_s(self) -> float | None:
        """How long the oldest record of the outbox has waited."""
        with self._timed("waiting"):
            return self._ledger.waiting_s()

    def outbox(self, holder: str, limit: int, lease_s: float, without: Collection[str] = ()) -> list[Parcel]:
        """The first records of the outbox."""
        with self._timed("outbox"):
            return self._ledger.outbox(holder, limit, lease_s, without)

    def sent(self, ids: Collection[int]) -> None:
        """Kafka confirmed these."""
        with self._timed("sent"):
            self._ledger.sent(ids)

    @contextmanager
    def _timed(self, call: str) -> Iterator[None]:
        began = perf_counter()
        try:
            yield
        finally:
            self._observer.seconds("ledger_seconds", perf_counter() - began, call=call)
