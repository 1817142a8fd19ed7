"""`schemas.ports.Ledger` over SQL: one insert an intent, one claim a patient, every attempt kept.

Order and exclusion both rest on `lanes`: a writer locks a patient's lane before it looks at the patient's operations, so
that what it concludes from them still holds when it commits. Locks are always taken in order of lane.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, bindparam, case, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from adapters.ledger.engine import READING, away_is_retry_later, connect, require_current
from adapters.ledger.lanes import attempted, find_heads, lock, parts
from adapters.ledger.rows import Attempt, Entry, attempt_row, attempt_seen, entry, instant, operation, operation_row, us
from adapters.ledger.sealing import Seal
from adapters.ledger.tables import attempts, lanes, ledger_key, operations
from schemas.errors import Misconfigured
from schemas.operation import TERMINAL, Intent, Operation, Outcome, State
from schemas.ports import Recorded

_STARTED = (State.PENDING, State.DEFERRED)
_LEASED = (State.IN_PROGRESS, State.UNKNOWN)


def open_ledger(url: str, encryption_key: bytes | None) -> SqlLedger:
    """The ledger at a SQLAlchemy URL, migrated before. Without a key what it keeps is only compressed."""
    ledger = SqlLedger(connect(url), Seal(encryption_key))
    ledger.verify()
    return ledger


class SqlLedger:
    """The durable table of operations in PostgreSQL or SQLite. Thread-safe; RetryLater while the database is away."""

    def __init__(self, engine: Engine, seal: Seal) -> None:
        self._engine = engine
        self._seal = seal
        dialect = postgresql if engine.dialect.name == "postgresql" else sqlite
        fresh_lane = dialect.insert(lanes)
        # The update changes nothing: it is what locks a lane that is already there.
        self._lock_lanes = fresh_lane.on_conflict_do_update(
            index_elements=[lanes.c.lane], set_={"endpoint": fresh_lane.excluded.endpoint}
        )
        self._insert_operations = dialect.insert(operations).on_conflict_do_nothing()
        self._insert_key = dialect.insert(ledger_key).on_conflict_do_nothing()

    def verify(self) -> None:
        """Misconfigured when the tables are of another version, or the key is not the one this ledger began with."""
        with self._writing() as db:
            require_current(db)
            db.execute(self._insert_key, {"id": 1, "fingerprint": self._seal.fingerprint})
            known = db.execute(select(ledger_key.c.fingerprint)).scalar_one()
        if known != self._seal.fingerprint:
            raise Misconfigured("the ledger was begun with another encryption key (or without one); give that key")

    def record(self, intents: Sequence[Intent], now: datetime) -> list[Recorded]:
        """Insert each intent once, in one transaction. An intent of a known source event with new content amends it."""
        if not intents:
            return []
        entries = [entry(intent, self._seal) for intent in intents]
        with self._writing() as db:
            touched = {e.lane: e.intent.endpoint for e in entries}
            for part in parts(sorted(touched.items())):
                db.execute(self._lock_lanes, [{"lane": lane, "endpoint": endpoint} for lane, endpoint in part])
            recorded, fresh = _told_apart(entries, *_known(db, entries))
            if fresh:
                db.execute(self._insert_operations, [operation_row(e, amends, now, self._seal) for e, amends in fresh])
            find_heads(db, {e.lane for e, _ in fresh})
        return recorded

    def claim(self, endpoint: str, limit: int, now: datetime, lease_s: float) -> list[Operation]:
        """Take the earliest open operation of up to `limit` patients who are due, and nobody else's until the lease ends."""
        lease_us = us(now) + round(lease_s * 1_000_000)
        due = (
            select(lanes.c.lane, lanes.c.head)
            .where(lanes.c.endpoint == endpoint, lanes.c.due_us <= us(now))
            .order_by(lanes.c.due_us)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        claimed: list[Operation] = []
        with self._writing() as db:
            for part in parts(db.execute(due).all()):
                take = (
                    update(operations)
                    .where(operations.c.sequence.in_([head for _, head in part]))
                    .values(
                        state=case((operations.c.state.in_(_STARTED), State.IN_PROGRESS), else_=State.UNKNOWN),
                        attempts=operations.c.attempts + 1,
                        due_us=lease_us,
                    )
                    .returning(operations)
                )
                claimed += [operation(row, self._seal) for row in db.execute(take)]
                db.execute(update(lanes).where(lanes.c.lane.in_([lane for lane, _ in part])).values(due_us=lease_us))
        return sorted(claimed, key=lambda taken: taken.sequence)

    def settle(self, outcomes: Mapping[str, Outcome], now: datetime) -> None:
        """Write outcomes and their evidence in one transaction. What is already terminal stays as it is."""
        if not outcomes:
            return
        with self._writing() as db:
            known = attempted(db, outcomes)
            lock(db, {lane for lane, _ in known.values()})
            history = [attempt_row(key, known[key][1], outcomes[key], now, self._seal) for key in known]
            changes = [_change(key, outcomes[key], now) for key in known]
            if history:
                db.execute(_SETTLE, changes)
                db.execute(insert(attempts), history)
            find_heads(db, {lane for lane, _ in known.values()})

    def operation(self, operation_id: str) -> Operation | None:
        """One operation, or None."""
        with self._reading() as db:
            row = db.execute(select(operations).where(operations.c.operation_id == operation_id)).one_or_none()
            return operation(row, self._seal) if row else None

    def find(
        self, *, endpoint: str | None = None, state: State | None = None, code: str | None = None, limit: int
    ) -> list[Operation]:
        """The earliest operations of an endpoint, in a state, with a code; each condition left out holds for all."""
        asked = (operations.c.endpoint, endpoint), (operations.c.state, state), (operations.c.code, code)
        wanted = select(operations).where(*(column == value for column, value in asked if value is not None))
        with self._reading() as db:
            found = db.execute(wanted.order_by(operations.c.sequence).limit(limit))
            return [operation(row, self._seal) for row in found]

    def release(self, operation_ids: Collection[str], now: datetime) -> list[str]:
        """Put held operations back to pending; gives the ids of those that were held, and leaves all others alone.

        One that is overtaken by a write under way waits for that write's lease: at most one a patient.
        """
        with self._writing() as db:
            known = attempted(db, operation_ids)
            lock(db, {lane for lane, _ in known.values()})
            freed: list[str] = []
            for part in parts(sorted(known)):
                freed += db.execute(_RELEASE, {"ids": part, "now_us": us(now)}).scalars()
            evidence = Outcome(state=State.PENDING, code="released")
            history = [attempt_row(key, known[key][1], evidence, now, self._seal) for key in freed]
            if history:
                db.execute(insert(attempts), history)
            find_heads(db, {known[key][0] for key in freed})
        return sorted(freed)

    def attempts(self, operation_id: str) -> list[Attempt]:
        """Everything that was tried for one operation, in order: the evidence."""
        wanted = select(attempts).where(attempts.c.operation_id == operation_id).order_by(attempts.c.id)
        with self._reading() as db:
            return [attempt_seen(row, self._seal) for row in db.execute(wanted)]

    def states(self) -> dict[str, dict[State, int]]:
        """endpoint → state → count."""
        by_state = select(operations.c.endpoint, operations.c.state, func.count()).group_by(
            operations.c.endpoint, operations.c.state
        )
        counts: dict[str, dict[State, int]] = {}
        with self._reading() as db:
            for endpoint, state, count in db.execute(by_state):
                counts.setdefault(endpoint, {})[State(state)] = count
        return counts

    def oldest_open(self) -> dict[str, datetime]:
        """endpoint → when its oldest open operation was recorded."""
        oldest = (
            select(operations.c.endpoint, func.min(operations.c.created_us))
            .where(operations.c.due_us.is_not(None))
            .group_by(operations.c.endpoint)
        )
        with self._reading() as db:
            return {endpoint: instant(created_us) for endpoint, created_us in db.execute(oldest)}

    def source_ids(self) -> set[str]:
        """Every window_id that stands in an intent."""
        with self._reading() as db:
            return {name for (names,) in db.execute(select(operations.c.source_ids)) for name in names.split()}

    def close(self) -> None:
        """Close connections."""
        self._engine.dispose()

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with away_is_retry_later(), self._engine.begin() as db:
            yield db

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with away_is_retry_later(), self._engine.connect().execution_options(**READING) as db:
            yield db


_SETTLE = (
    update(operations)
    .where(operations.c.operation_id == bindparam("settled_id"), *(operations.c.state != done for done in TERMINAL))
    .values(
        state=bindparam("state"),
        due_us=bindparam("due_us"),
        settled_us=bindparam("settled_us"),
        http_status=bindparam("http_status"),
        code=bindparam("code"),
        message=bindparam("message"),
        resource_id=func.coalesce(bindparam("resource_id"), operations.c.resource_id),
        version=func.coalesce(bindparam("version"), operations.c.version),
    )
)


_under_way = operations.alias()
_lease_end = (
    select(func.max(_under_way.c.due_us))
    .where(_under_way.c.lane == operations.c.lane, _under_way.c.state.in_(_LEASED))
    .scalar_subquery()
)
_RELEASE = (
    update(operations)
    .where(operations.c.operation_id.in_(bindparam("ids", expanding=True)), operations.c.state == State.HELD)
    .values(
        state=State.PENDING,
        due_us=case((_lease_end > bindparam("now_us"), _lease_end), else_=bindparam("now_us")),
        http_status=None,
        code=None,
        message=None,
    )
    .returning(operations.c.operation_id)
)


def _change(operation_id: str, outcome: Outcome, now: datetime) -> dict[str, Any]:
    done = outcome.state in TERMINAL
    waits = done or outcome.state is State.HELD
    return {
        "settled_id": operation_id,
        "state": outcome.state,
        "due_us": None if waits else us(outcome.retry_at or now),
        "settled_us": us(now) if done else None,
        "http_status": outcome.http_status,
        "code": outcome.code,
        "message": outcome.message,
        "resource_id": outcome.resource_id,
        "version": outcome.version,
    }


def _known(db: Connection, entries: Sequence[Entry]) -> tuple[dict[str, Recorded], dict[str, str]]:
    """What the ledger holds of these source events: by operation_id, and the latest operation_id of each event."""
    columns = operations.c.operation_id, operations.c.event_key, operations.c.state, operations.c.amends
    by_id: dict[str, Recorded] = {}
    latest: dict[str, str] = {}
    for part in parts(sorted({e.event_key for e in entries})):
        wanted = select(*columns).where(operations.c.event_key.in_(part)).order_by(operations.c.sequence)
        for operation_id, event_key, state, amends in db.execute(wanted):
            by_id[operation_id] = Recorded(operation_id, State(state), True, amends)
            latest[event_key] = operation_id
    return by_id, latest


def _told_apart(
    entries: Sequence[Entry], known: dict[str, Recorded], latest: dict[str, str]
) -> tuple[list[Recorded], list[tuple[Entry, str | None]]]:
    """Duplicates and news, in the order given; news with what each amends. The same key twice is news once."""
    recorded: list[Recorded] = []
    fresh: list[tuple[Entry, str | None]] = []
    for one in entries:
        if one.operation_id in known:
            recorded.append(known[one.operation_id])
            continue
        amends = latest.get(one.event_key)
        fresh.append((one, amends))
        recorded.append(Recorded(one.operation_id, State.PENDING, False, amends))
        known[one.operation_id] = Recorded(one.operation_id, State.PENDING, True, amends)
        latest[one.event_key] = one.operation_id
    return recorded, fresh
