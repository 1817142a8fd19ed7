"""Measures the calls to a ledger: `ledger_seconds` by call, including those that fail."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from time import perf_counter

from schemas.config import LedgerKeeping
from schemas.operation import Intent, Operation, Outcome, State
from schemas.ports.kafka import Position
from schemas.ports.ledger import Ledger, OutboxEntries, OutboxRecord, Recorded
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
        entries: Callable[[Sequence[Recorded]], OutboxEntries] | None = None,
    ) -> list[Recorded]:
        """Insert intents, and where they came from."""
        with self._timed("record"):
            return self._ledger.record(intents, position, entries)

    def positions(self, topic: str) -> dict[int, int]:
        """partition → from where on to read."""
        with self._timed("positions"):
            return self._ledger.positions(topic)

    def count_removed(self, position: Position, since: int, entries: Callable[[int], OutboxEntries]) -> int:
        """Count what retention removed."""
        with self._timed("count_removed"):
            return self._ledger.count_removed(position, since, entries)

    def removed_unread(self, topic: str) -> dict[int, int]:
        """partition → what retention removed unread."""
        with self._timed("removed_unread"):
            return self._ledger.removed_unread(topic)

    def claim(self, endpoint: str, limit: int, lease_s: float) -> list[Operation]:
        """Claim operations."""
        with self._timed("claim"):
            return self._ledger.claim(endpoint, limit, lease_s)

    def settle(self, outcomes: Mapping[str, Outcome], claimed: Mapping[str, Operation] | None = None) -> list[str]:
        """Write outcomes."""
        with self._timed("settle"):
            return self._ledger.settle(outcomes, claimed)

    def readdress(self, operation_id: str, fence: int, intent: Intent, entries: OutboxEntries | None = None) -> bool:
        """Store the patient's corrected id at the endpoint."""
        with self._timed("readdress"):
            return self._ledger.readdress(operation_id, fence, intent, entries)

    def operation(self, operation_id: str) -> Operation | None:
        """One operation."""
        with self._timed("operation"):
            return self._ledger.operation(operation_id)

    def states(self) -> dict[str, dict[State, int]]:
        """endpoint → state → count."""
        with self._timed("states"):
            return self._ledger.states()

    def purge_expired(self, keeping: LedgerKeeping) -> bool:
        """Delete expired rows."""
        with self._timed("tidy"):
            return self._ledger.purge_expired(keeping)

    def states_by_purpose(self) -> dict[str, dict[State, int]]:
        """purpose → state → count."""
        with self._timed("states"):
            return self._ledger.states_by_purpose()

    def window_ids(self, after: int = 0, limit: int = 10_000) -> list[tuple[int, list[str]]]:
        """A page of the window_ids of intents."""
        with self._timed("window_ids"):
            return self._ledger.window_ids(after, limit)

    def keyed_hash(self, *parts: str) -> str:
        """The ledger's name of a patient or device."""
        return self._ledger.keyed_hash(*parts)

    def list_charted(
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
            return self._ledger.list_charted(
                device=device, patient=patient, first=first, last=last, after=after, limit=limit
            )

    def reviewed_fingerprints(self, kind: str) -> dict[str, str]:
        """name → fingerprint of what was reviewed."""
        with self._timed("reviewed"):
            return self._ledger.reviewed_fingerprints(kind)

    def mark_reviewed(
        self, kind: str, fingerprints: Mapping[str, str | None], entries: OutboxEntries | None = None
    ) -> None:
        """Store what was reviewed."""
        with self._timed("mark_reviewed"):
            self._ledger.mark_reviewed(kind, fingerprints, entries)

    def report_once(self, kind: str, reports: Mapping[str, tuple[str, OutboxEntries]]) -> list[str]:
        """Store names that are not known yet and write their entries."""
        with self._timed("tell_once"):
            return self._ledger.report_once(kind, reports)

    def oldest_outbox_age_s(self) -> float | None:
        """How long the oldest record of the outbox has waited."""
        with self._timed("waiting"):
            return self._ledger.oldest_outbox_age_s()

    def lease_outbox(
        self, holder: str, limit: int, lease_s: float, without: Collection[str] = ()
    ) -> list[OutboxRecord]:
        """The first records of the outbox."""
        with self._timed("outbox"):
            return self._ledger.lease_outbox(holder, limit, lease_s, without)

    def confirm_sent(self, ids: Collection[int]) -> None:
        """Kafka confirmed these."""
        with self._timed("sent"):
            self._ledger.confirm_sent(ids)

    @contextmanager
    def _timed(self, call: str) -> Iterator[None]:
        began = perf_counter()
        try:
            yield
        finally:
            self._observer.seconds("ledger_seconds", perf_counter() - began, call=call)
