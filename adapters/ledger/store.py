"""`schemas.ports.ledger.Ledger` over SQL: one insert per intent, one claim per patient, every attempt stored.

Order and exclusion rest on the ordering keys: a writer locks a patient's key before it reads the patient's operations, so that
what it concludes from them still holds when it commits. Keys are always locked in sorted order.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import DataError, IntegrityError

from adapters.ledger import claiming, outbox, positions, reading, recording, reviewing, settling, takeover, tallies
from adapters.ledger.clock import FLUSHED_BYTES, Clock, database_clock
from adapters.ledger.engine import READING, away_is_retry_later, connect, require_current
from adapters.ledger.generation import SqliteGuard
from adapters.ledger.identity import Ended, PostgresGuard, stop
from adapters.ledger.ordering_keys import upsert
from adapters.ledger.purging import BATCH, Keep, purge
from adapters.ledger.rows import Attempt
from adapters.ledger.sealing import Seal
from adapters.ledger.tables import ledger_key
from schemas.config import LedgerKeeping
from schemas.errors import Misconfigured
from schemas.operation import Intent, Operation, Outcome, State
from schemas.ports.kafka import GroupPosition, Position
from schemas.ports.ledger import OutboxEntries, OutboxRecord, Recorded, SettlementSubscriber

RECOUNT_EVERY_US = 900 * 1_000_000

_log = logging.getLogger(__name__)


def open_ledger(
    url: str,
    encryption_key: bytes | None,
    clock: Clock = database_clock,
    ended: Ended = stop,
    *,
    subscribers: Sequence[SettlementSubscriber],
) -> SqlLedger:
    """The ledger at a migrated SQLAlchemy URL. Without a key its contents are only compressed.

    `ended`, called when a session finds another database, must not return. `subscribers` add to the outbox at each settlement.
    """
    ledger = SqlLedger(connect(url), Seal(encryption_key), clock, ended, subscribers)
    ledger.verify()
    return ledger


class SqlLedger:
    """The durable table of operations in PostgreSQL or SQLite. Thread-safe; RetryLater while the database is unavailable."""

    def __init__(
        self, engine: Engine, seal: Seal, clock: Clock, ended: Ended, subscribers: Sequence[SettlementSubscriber]
    ) -> None:
        self._subscribers = subscribers
        self._engine = engine
        self._seal = seal
        self._clock = clock
        self._counted_us: int | None = None
        self._guard = (PostgresGuard if engine.dialect.name == "postgresql" else SqliteGuard)(engine, ended)

    def verify(self) -> None:
        """Misconfigured if the tables are of another version, or the key is not the one that the ledger was created with."""
        with self._writing() as (db, _):
            require_current(db)
            db.execute(
                upsert(db, ledger_key).on_conflict_do_nothing(), {"id": 1, "fingerprint": self._seal.fingerprint}
            )
            known = db.execute(select(ledger_key.c.fingerprint)).scalar_one()
        if known != self._seal.fingerprint:
            raise Misconfigured("the ledger was created with another encryption key, or without one: set that key")

    def take_over(
        self, topic: str, reached: Mapping[int, GroupPosition], quiet_s: float, entries: OutboxEntries
    ) -> bool:
        """Compare with Kafka, and bind to this database. If the ledger lost commits, write `entries` and return true."""
        with self._guard.taking_over() as look, self._writing() as (db, now_us):
            went_back = takeover.take_over(db, now_us, takeover.Witness(*look(db), topic, reached, quiet_s))
            if went_back:
                outbox.write(db, self._seal, now_us, [entries])
            return went_back

    def positions(self, topic: str) -> dict[int, int]:
        """partition → the offset from which records may cause intents that this ledger does not have."""
        with self._reading() as db:
            return {number: at.next_offset for number, at in positions.read_positions(db, topic).items()}

    def count_removed(self, position: Position, since: int, entries: Callable[[int], OutboxEntries]) -> int:
        """Count the records that retention removed before the position, once, and advance to it."""
        with self._writing() as (db, now_us):
            first = positions.count_removed(db, position, since)
            outbox.write(db, self._seal, now_us, [] if first is None else [entries(first)])
            return 0 if first is None else position.next_offset - first

    def removed_unread(self, topic: str) -> dict[int, int]:
        """partition → how many records retention removed before their results were durable."""
        with self._reading() as db:
            return positions.removed_unread(db, topic)

    def record(
        self,
        intents: Sequence[Intent],
        position: Position | None = None,
        entries: Callable[[Sequence[Recorded]], OutboxEntries] | None = None,
    ) -> list[Recorded]:
        """Insert each intent once, in one transaction. New content of a known source event amends it."""
        if not intents and position is None and entries is None:
            return []
        with self._writing() as (db, now_us):
            recorded = recording.record(db, self._seal, now_us, intents, position)
            outbox.write(db, self._seal, now_us, [entries(recorded)] if entries else [])
            return recorded

    def claim(self, endpoint: str, limit: int, lease_s: float) -> list[Operation]:
        """Claim the earliest open operation of up to `limit` patients who are due, until the lease ends."""
        with self._writing() as (db, now_us):
            claimed = claiming.claim(db, self._seal, now_us, endpoint, limit, lease_s)
            held = claiming.hold_unreadable(db, self._seal, now_us, claimed)
            self._notify(db, now_us, held, {one.operation_id: one for one in claimed})
            return [
                one.model_copy(update={"state": State.HELD}) if one.operation_id in held else one for one in claimed
            ]

    def settle(self, outcomes: Mapping[str, Outcome], claimed: Mapping[str, Operation] | None = None) -> list[str]:
        """Write outcomes and evidence in one transaction, and notify the subscribers; returns the ids of stale ones."""
        if not outcomes:
            return []
        try:
            return self._settle(outcomes, claimed or {})
        except (DataError, IntegrityError, UnicodeError, OverflowError):
            if len(outcomes) > 1:  # one of them cannot be stored: that operation alone is held
                return [stale for key, outcome in outcomes.items() for stale in self.settle({key: outcome}, claimed)]
            held = {key: settling.unstorable(outcome) for key, outcome in outcomes.items()}
            return self._settle(held, claimed or {})

    def _settle(self, outcomes: Mapping[str, Outcome], claimed: Mapping[str, Operation]) -> list[str]:
        with self._writing() as (db, now_us):
            settled = settling.settle(db, self._seal, now_us, outcomes)
            self._notify(db, now_us, {key: outcomes[key] for key in settled.written}, claimed)
            return settled.stale

    def _notify(
        self, db: Connection, now_us: int, written: Mapping[str, Outcome], claimed: Mapping[str, Operation]
    ) -> None:
        if not self._subscribers or not written:
            return
        known = {**reading.read_operations(db, self._seal, written.keys() - claimed.keys()), **claimed}
        entries = settling.entries_of(self._subscribers, [(known[key], outcome) for key, outcome in written.items()])
        outbox.write(db, self._seal, now_us, entries)

    def readdress(self, operation_id: str, fence: int, intent: Intent, entries: OutboxEntries | None = None) -> bool:
        """Store the patient's corrected id at the endpoint, before anything is sent; False when it may not be."""
        with self._writing() as (db, now_us):
            stored = settling.readdress(db, self._seal, now_us, operation_id, fence, intent)
            outbox.write(db, self._seal, now_us, [entries] if entries and stored else [])
            return stored

    def release(self, operation_ids: Collection[str], entries: Mapping[str, OutboxEntries] | None = None) -> list[str]:
        """Release held operations; those in doubt are searched for first. Returns the ids of those that were held."""
        with self._writing() as (db, now_us):
            freed = settling.release(db, self._seal, now_us, operation_ids)
            outbox.write(db, self._seal, now_us, [entries[key] for key in freed if entries and key in entries])
            return freed

    def operation(self, operation_id: str) -> Operation | None:
        """One operation, or None."""
        with self._reading() as db:
            return reading.read_operation(db, self._seal, operation_id)

    def find(
        self,
        *,
        endpoint: str | None = None,
        state: State | None = None,
        code: str | None = None,
        stale: bool = False,
        limit: int,
    ) -> list[Operation]:
        """The earliest operations that match every given condition: endpoint, state, code, stale attempt."""
        with self._reading() as db:
            return reading.find_operations(db, self._seal, reading.Filter(endpoint, state, code, stale), limit)

    def attempts(self, operation_id: str) -> list[Attempt]:
        """Every attempt of one operation, in order: the evidence."""
        with self._reading() as db:
            return reading.read_attempts(db, self._seal, operation_id)

    def states(self) -> dict[str, dict[State, int]]:
        """endpoint → state → count."""
        with self._reading() as db:
            return tallies.counted_by(db, "endpoint")

    def states_by_purpose(self) -> dict[str, dict[State, int]]:
        """purpose → state → count."""
        with self._reading() as db:
            return tallies.counted_by(db, "purpose")

    def purge_expired(self, keeping: LedgerKeeping) -> bool:
        """Add up tallies and delete a batch of expired rows; true if there may be more."""
        self._recount_when_due()
        with self._writing() as (db, now_us):
            tallies.fold(db)
            keep = Keep(now_us - keeping.keep_operations * 1000, now_us - keeping.keep_evidence * 1000)
            return purge(db, keep) == BATCH

    def _recount_when_due(self) -> None:
        """At a worker's start and every quarter of an hour: it reads an index of all operations."""
        with self._writing() as (db, now_us):
            if self._counted_us is not None and abs(now_us - self._counted_us) < RECOUNT_EVERY_US:
                return
            if off := tallies.recount(db):
                _log.warning("the ledger's counts were wrong and have been corrected", extra={"states": off})
        self._counted_us = now_us

    def window_ids(self, after: int = 0, limit: int = 10_000) -> list[tuple[int, list[str]]]:
        """A page of (sequence, window ids) of the intents of windows, in order of sequence."""
        with self._reading() as db:
            return reading.read_window_ids(db, after, limit)

    def keyed_hash(self, *parts: str) -> str:
        """The name of a patient (tenant, endpoint, patient) or a device (tenant, device) in the ledger."""
        return self._seal.name(*parts)

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
        """Succeeded operations of a named device or patient whose readings overlap first to last, after a sequence."""
        with self._reading() as db:
            return reviewing.list_charted(
                db, self._seal, reviewing.ChartedQuery(device, patient, first, last, after, limit)
            )

    def reviewed_fingerprints(self, kind: str) -> dict[str, str]:
        """name → fingerprint of what was reviewed."""
        with self._reading() as db:
            return reviewing.read_fingerprints(db, kind)

    def mark_reviewed(
        self, kind: str, fingerprints: Mapping[str, str | None], entries: OutboxEntries | None = None
    ) -> None:
        """Store what was reviewed; None removes a name."""
        with self._writing() as (db, now_us):
            reviewing.mark(db, kind, fingerprints)
            outbox.write(db, self._seal, now_us, [entries] if entries else [])

    def report_once(self, kind: str, reports: Mapping[str, tuple[str, OutboxEntries]]) -> list[str]:
        """Store names that are not known yet and write their entries; returns those names."""
        with self._writing() as (db, now_us):
            fresh = reviewing.mark_once(db, kind, {name: print_ for name, (print_, _) in reports.items()})
            outbox.write(db, self._seal, now_us, [reports[name][1] for name in fresh])
            return fresh

    def oldest_outbox_age_s(self) -> float | None:
        """The age of the oldest record of the outbox; None when it is empty."""
        with self._reading() as db:
            return outbox.oldest_age_s(db, self._clock(db))

    def lease_outbox(
        self, holder: str, limit: int, lease_s: float, without: Collection[str] = ()
    ) -> list[OutboxRecord]:
        """The first records of the outbox, except those of some topics, for one holder at a time."""
        with self._writing() as (db, now_us):
            return outbox.lease_records(db, self._seal, now_us, outbox.Lease(holder, lease_s), limit, without)

    def confirm_sent(self, ids: Collection[int]) -> None:
        """Delete records that Kafka has confirmed."""
        with self._writing() as (db, _):
            outbox.confirm_sent(db, ids)

    def close(self) -> None:
        """Close connections."""
        self._engine.dispose()

    @contextmanager
    def _writing(self) -> Iterator[tuple[Connection, int]]:
        with away_is_retry_later(), self._engine.begin() as db:
            now_us = self._clock(db)
            self._guard.confirmed(db.info.get(FLUSHED_BYTES, 0))
            yield db, now_us

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with away_is_retry_later(), self._engine.connect().execution_options(**READING) as db:
            yield db
