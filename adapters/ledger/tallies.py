"""The number of operations by endpoint, purpose and state, maintained by adding the difference of each change.

Each difference is a separate row, so that workers do not wait for each other; purging adds the rows up. Every quarter of an
hour the operations are recounted, because a worker of a version without tallies may have settled some of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal, NamedTuple

from sqlalchemy import Connection, delete, func, insert, select, text, union_all

from adapters.ledger.tables import operations, tallies
from schemas.operation import State


class Change(NamedTuple):
    """One operation's change of state: before is None where it is new, after where it was deleted."""

    endpoint: str
    purpose: str
    before: str | None
    after: str | None


class Tally(NamedTuple):
    """The key of one count."""

    endpoint: str
    purpose: str
    state: str


def note(db: Connection, changes: Iterable[Change]) -> None:
    """Add the differences, in the transaction of the change."""
    sums: Counter[Tally] = Counter()
    for endpoint, purpose, before, after in changes:
        if before is not None:
            sums[Tally(endpoint, purpose, before)] -= 1
        if after is not None:
            sums[Tally(endpoint, purpose, after)] += 1
    _add(db, sums)


def counts(db: Connection) -> dict[Tally, int]:
    """The number of operations of each endpoint and purpose in each state; zeros are left out."""
    total = func.sum(tallies.c.amount)
    rows = db.execute(select(*_TALLY, total).group_by(*_TALLY))
    return {Tally(*key): int(amount) for *key, amount in rows if amount}


def counted_by(db: Connection, key: Literal["endpoint", "purpose"]) -> dict[str, dict[State, int]]:
    """Endpoint or purpose → state → operations."""
    found: dict[str, Counter[State]] = {}
    for tally, count in counts(db).items():
        found.setdefault(getattr(tally, key), Counter())[State(tally.state)] += count
    return {name: dict(states) for name, states in found.items()}


def fold(db: Connection) -> None:
    """Replace the many rows of each tally with one."""
    sums: Counter[Tally] = Counter()
    for *key, amount in db.execute(delete(tallies).returning(*_TALLY, tallies.c.amount)):
        sums[Tally(*key)] += amount
    _add(db, sums)


def recount(db: Connection) -> int:
    """Count the operations and correct the tallies; returns the number of states that were wrong.

    One statement reads both, so a concurrent commit is in both or in neither, and no transaction waits.
    """
    if db.dialect.name == "postgresql":
        db.execute(text("SET LOCAL statement_timeout = 0"))
        if not db.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _RECOUNT_LOCK}).scalar_one():
            return 0  # another worker counts, and must not add the same twice
    rows = db.execute(_OFF_BY).all()
    _add(db, Counter({Tally(*key): int(amount) for *key, amount in rows}))
    return len(rows)


_RECOUNT_LOCK = 0x74_61_6C_6C_79
_TALLY = tallies.c.endpoint, tallies.c.purpose, tallies.c.state
_counted = operations.c.endpoint, operations.c.purpose, operations.c.state
_both = union_all(
    select(*_counted, func.count().label("amount")).group_by(*_counted),
    select(*_TALLY, -tallies.c.amount),
).subquery()
_off = func.sum(_both.c.amount)
_key = _both.c.endpoint, _both.c.purpose, _both.c.state
_OFF_BY = select(*_key, _off).group_by(*_key).having(_off != 0)


def _add(db: Connection, sums: Counter[Tally]) -> None:
    rows = [{**tally._asdict(), "amount": amount} for tally, amount in sorted(sums.items()) if amount]
    if rows:
        db.execute(insert(tallies), rows)
