"""`schemas.ports.Ledger` over SQL: one insert an intent, one claim a patient, every attempt kept.

Order and exclusion both rest on `lanes`: a writer locks a patient's lane before it looks at the patient's operations, so
that what it concludes from them still holds when it commits. Locks are always taken in order of lane.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import DataError, IntegrityError

from adapters.ledger import claiming, outbox, positions, recording, reviewing, settling, takeover, tallies
from adapters.ledger.clock import FLUSHED_BYTES, Clock, database_clock
from adapters.ledger.engine import READING, away_is_retry_later, connect, require_current
from adapters.ledger.generation import SqliteGuard
from adapters.ledger.identity import Ended, PostgresGuard, stop
from adapters.ledger.ordering_keys import upsert
from adapters.ledger.purging import BATCH, Keep, purge
from adapters.ledger.rows import Attempt, attempt_seen, operation
from adapters.ledger.sealing import Seal
from adapters.ledger.tables import attempts, ledger_key, operations
from schemas.config import LedgerKeeping
from schemas.errors import Misconfigured
from schemas.operation import Intent, Operation, Outcome, State
from schemas.ports.kafka import Position, Reached
from schemas.ports.ledger import Beside, Parcel, Recorded

RECOUNT_EVERY_US = 900 * 1_000_000

_log = logging.getLogger(__name__)


def open_ledger(
    url: str, encryption_key: bytes | None, clock: Clock = database_clock, ended: Ended = stop
) -> SqlLedger:
    """The ledger at a SQLAlchemy URL, migrated before. Without a key what it keeps is only compressed.

    `ended` is called when a session finds another database than was taken up; it must not come back.
    """
    ledger = SqlLedger(connect(url), Seal(encryption_key), clock, ended)
    ledger.verify()
    return ledger


class SqlLedger:
    """The durable table of operations in PostgreSQL or SQLite. Thread-safe; RetryLater while the database is away."""

    def __init__(self, engine: Engine, seal: Seal, clock: Clock = database_clock, ended: Ended = stop) -> None:
        self._engine = engine
        self._seal = seal
        self._clock = clock
        self._counted_us: int | None = None
        self._guard = (PostgresGuard if engine.dialect.name == "postgresql" else SqliteGuard)(engine, ended)

    def verify(self) -> None:
        """Misconfigured when the tables are of another version, or the key is not the one this ledger began with."""
        with self._writing() as (db, _):
            require_current(db)
            db.execute(
                upsert(db, ledger_key).on_conflict_do_nothing(), {"id": 1, "fingerprint": self._seal.fingerprint}
            )
            known = db.execute(select(ledger_key.c.fingerprint)).scalar_one()
        if known != self._seal.fingerprint:
            raise Misconfigured("the ledger was begun with another encryption key (or without one); give that key")

    def take_up(self, topic: str, reached: Mapping[int, Reached], quiet_s: float, told: Beside) -> bool:
        """Find out whether this is the ledger that was left. Where it is not, that is `told` to the auditors, and true.

        To be called once, at a worker's start, with what stands on Kafka: from then on no other database is used.
        """
        with self._guard.taking_up() as look, self._writing() as (db, now_us):
            went_back = takeover.take_up(db, now_us, takeover.Witness(*look(db), topic, reached, quiet_s))
            if went_back:
                outbox.write(db, self._seal, now_us, [told])
            return went_back

    def positions(self, topic: str) -> dict[int, int]:
        """partition → the offset from which on records may cause what this ledger does not have."""
        with self._reading() as db:
            return {number: place.next_offset for number, place in positions.places(db, topic).items()}

    def count_removed(self, position: Position, since: int, beside: Callable[[int], Beside]) -> int:
        """Count what retention removed before the position, once, and move there."""
        with self._writing() as (db, now_us):
            first = positions.count_removed(db, position, since)
            outbox.write(db, self._seal, now_us, [] if first is None else [beside(first)])
            return 0 if first is None else position.next_offset - first

    def removed_unread(self, topic: str) -> dict[int, int]:
        """partition → how many records retention removed before what they cause was durable."""
        with self._reading() as db:
            return positions.removed_unread(db, topic)

    def record(
        self,
        intents: Sequence[Intent],
        position: Position | None = None,
        beside: Callable[[Sequence[Recorded]], Beside] | None = None,
    ) -> list[Recorded]:
        """Insert each intent once, in one transaction. An intent of a known source event with new content amends it."""
        if not intents and position is None and beside is None:
            return []
        with self._writing() as (db, now_us):
            recorded = recording.record(db, self._seal, now_us, intents, position)
            outbox.write(db, self._seal, now_us, [beside(recorded)] if beside else [])
            return recorded

    def claim(self, endpoint: str, limit: int, lease_s: float) -> list[Operation]:
        """Take the earliest open operation of up to `limit` patients who are due, and nobody else's until the lease ends."""
        with self._writing() as (db, now_us):
            return claiming.claim(db, self._seal, now_us, endpoint, limit, lease_s)

    def settle(self, outcomes: Mapping[str, Outcome], beside: Mapping[str, Beside] | None = None) -> list[str]:
        """Write outcomes and their evidence in one transaction; gives the ids of those whose claim had passed."""
        if not outcomes:
            return []
        try:
            return self._settle(outcomes, beside or {})
        except (DataError, IntegrityError, UnicodeError, OverflowError):
            if len(outcomes) > 1:  # something in it cannot be stored: that operation alone is held
                return [stale for key, outcome in outcomes.items() for stale in self.settle({key: outcome}, beside)]
            held = {key: settling.unstorable(outcome) for key, outcome in outcomes.items()}
            told = {key: settling.told_unstorable(one) for key, one in (beside or {}).items() if key in held}
            return self._settle(held, told)

    def _settle(self, outcomes: Mapping[str, Outcome], beside: Mapping[str, Beside]) -> list[str]:
        with self._writing() as (db, now_us):
            settled = settling.settle(db, self._seal, now_us, outcomes)
            outbox.write(db, self._seal, now_us, [beside[key] for key in settled.written if key in beside])
            return settled.stale

    def readdress(self, operation_id: str, fence: int, intent: Intent, beside: Beside | None = None) -> bool:
        """Store the patient's corrected id at the endpoint, before anything is sent; False when it may not be."""
        with self._writing() as (db, now_us):
            stored = settling.readdress(db, self._seal, now_us, operation_id, fence, intent)
            outbox.write(db, self._seal, now_us, [beside] if beside and stored else [])
            return stored

    def release(self, operation_ids: Collection[str], beside: Mapping[str, Beside] | None = None) -> list[str]:
        """Free held operations, what is in doubt to be searched for; gives the ids of those that were held."""
        with self._writing() as (db, now_us):
            freed = settling.release(db, self._seal, now_us, operation_ids)
            outbox.write(db, self._seal, now_us, [beside[key] for key in freed if beside and key in beside])
            return freed

    def operation(self, operation_id: str) -> Operation | None:
        """One operation, or None."""
        with self._reading() as db:
            row = db.execute(select(operations).where(operations.c.operation_id == operation_id)).one_or_none()
            return operation(row, self._seal) if row else None

    def find(
        self,
        *,
        endpoint: str | None = None,
        state: State | None = None,
        code: str | None = None,
        stale: bool = False,
        limit: int,
    ) -> list[Operation]:
        """The earliest operations of an endpoint, in a state, with a code, with a stale attempt: all that is asked holds."""
        asked = (operations.c.endpoint, endpoint), (operations.c.state, state), (operations.c.code, code)
        wanted = select(operations).where(*(column == value for column, value in asked if value is not None))
        if stale:
            late = select(attempts.c.operation_id).where(attempts.c.code == settling.STALE)
            wanted = wanted.where(operations.c.operation_id.in_(late))
        with self._reading() as db:
            found = db.execute(wanted.order_by(operations.c.sequence).limit(limit))
            return [operation(row, self._seal) for row in found]

    def attempts(self, operation_id: str) -> list[Attempt]:
        """Everything that was tried for one operation, in order: the evidence."""
        wanted = select(attempts).where(attempts.c.operation_id == operation_id).order_by(attempts.c.id)
        with self._reading() as db:
            return [attempt_seen(row, self._seal) for row in db.execute(wanted)]

    def states(self) -> dict[str, dict[State, int]]:
        """endpoint → state → count."""
        found: dict[str, dict[State, int]] = {}
        with self._reading() as db:
            for (endpoint, state), count in tallies.counts(db).items():
                found.setdefault(endpoint, {})[State(state)] = count
        return found

    def tidy(self, keeping: LedgerKeeping) -> bool:
        """Add up tallies, and forget a batch of what is older than is kept; true when there may be more."""
        self._recount_now_and_then()
        with self._writing() as (db, now_us):
            tallies.fold(db)
            keep = Keep(now_us - keeping.keep_operations * 1000, now_us - keeping.keep_evidence * 1000)
            return purge(db, keep) == BATCH

    def _recount_now_and_then(self) -> None:
        """At a worker's start and every quarter of an hour: it reads an index of all operations."""
        with self._writing() as (db, now_us):
            if self._counted_us is not None and abs(now_us - self._counted_us) < RECOUNT_EVERY_US:
                return
            if off := tallies.recount(db):
                _log.warning("the ledger's counts were off and are put right", extra={"states": off})
        self._counted_us = now_us

    def source_ids(self) -> set[str]:
        """Every window_id that stands in an intent."""
        with self._reading() as db:
            return {name for (names,) in db.execute(select(operations.c.source_ids)) for name in names.split()}

    def name(self, *parts: str) -> str:
        """A keyed hash: how the ledger calls a patient (tenant, endpoint, patient) or a device (tenant, device)."""
        return self._seal.name(*parts)

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
        """Succeeded operations of a named device or patient whose readings overlap first to last, after a sequence."""
        with self._reading() as db:
            return reviewing.charted(db, self._seal, reviewing.ChartedQuery(device, patient, first, last, after, limit))

    def reviewed(self, kind: str) -> dict[str, str]:
        """name → fingerprint of what was reviewed."""
        with self._reading() as db:
            return reviewing.fingerprints(db, kind)

    def mark_reviewed(self, kind: str, fingerprints: Mapping[str, str | None], beside: Beside | None = None) -> None:
        """Remember what was reviewed; None forgets a name."""
        with self._writing() as (db, now_us):
            reviewing.mark(db, kind, fingerprints)
            outbox.write(db, self._seal, now_us, [beside] if beside else [])

    def report_once(self, kind: str, besides: Mapping[str, tuple[str, Beside]]) -> list[str]:
        """Remember names that are not known yet, and write what goes out beside each; gives those names."""
        with self._writing() as (db, now_us):
            fresh = reviewing.mark_once(db, kind, {name: print_ for name, (print_, _) in besides.items()})
            outbox.write(db, self._seal, now_us, [besides[name][1] for name in fresh])
            return fresh

    def waiting_s(self) -> float | None:
        """How long the oldest record of the outbox has waited; None when nothing waits."""
        with self._reading() as db:
            return outbox.waiting(db, self._clock(db))

    def outbox(self, holder: str, limit: int, lease_s: float, without: Collection[str] = ()) -> list[Parcel]:
        """The first records of the outbox, but those of some topics, for one holder at a time."""
        with self._writing() as (db, now_us):
            return outbox.take(db, self._seal, now_us, outbox.Lease(holder, lease_s), limit, without)

    def sent(self, ids: Collection[int]) -> None:
        """Kafka confirmed these records of the outbox."""
        with self._writing() as (db, _):
            outbox.sent(db, ids)

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
