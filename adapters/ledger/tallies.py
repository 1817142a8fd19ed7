"""How many operations each endpoint has in each state, without counting them: every change adds its difference.

Differences are rows of their own, so that no two workers wait for one number; tidying adds them up. Once in a while the
operations are counted after all: a worker of a version that noted no differences may have settled some of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from sqlalchemy import Connection, delete, func, insert, select, text, union_all

from adapters.ledger.tables import operations, tallies

Change = tuple[str, str | None, str | None]
"""Endpoint, the state before (None: new), the state after (None: gone)."""


def note(db: Connection, changes: Iterable[Change]) -> None:
    """Add what changed, in the change's transaction."""
    sums: Counter[tuple[str, str]] = Counter()
    for endpoint, before, after in changes:
        if before is not None:
            sums[endpoint, before] -= 1
        if after is not None:
            sums[endpoint, after] += 1
    _add(db, sums)


def counts(db: Connection) -> dict[tuple[str, str], int]:
    """(endpoint, state) → operations; states that have none are left out."""
    total = func.sum(tallies.c.amount)
    rows = db.execute(select(tallies.c.endpoint, tallies.c.state, total).group_by(tallies.c.endpoint, tallies.c.state))
    return {(endpoint, state): int(amount) for endpoint, state, amount in rows if amount}


def fold(db: Connection) -> None:
    """Put one row for each endpoint and state in place of the many."""
    sums: Counter[tuple[str, str]] = Counter()
    for endpoint, state, amount in db.execute(delete(tallies).returning(*_COLUMNS)):
        sums[endpoint, state] += amount
    _add(db, sums)


def recount(db: Connection) -> int:
    """Count the operations, and add what the tallies are off by; gives for how many states they were.

    One statement sees both, so whatever is committed meanwhile is in both or in neither, and nobody waits.
    """
    if db.dialect.name == "postgresql":
        db.execute(text("SET LOCAL statement_timeout = 0"))
        if not db.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": _RECOUNT_LOCK}).scalar_one():
            return 0  # another worker counts, and must not add the same twice
    rows = db.execute(_OFF_BY).all()
    _add(db, Counter({(endpoint, state): int(amount) for endpoint, state, amount in rows}))
    return len(rows)


_RECOUNT_LOCK = 0x74_61_6C_6C_79
_COLUMNS = tallies.c.endpoint, tallies.c.state, tallies.c.amount
_there = operations.c.endpoint, operations.c.state
_both = union_all(
    select(*_there, func.count().label("amount")).group_by(*_there),
    select(tallies.c.endpoint, tallies.c.state, -tallies.c.amount),
).subquery()
_off = func.sum(_both.c.amount)
_OFF_BY = select(_both.c.endpoint, _both.c.state, _off).group_by(_both.c.endpoint, _both.c.state).having(_off != 0)


def _add(db: Connection, sums: Counter[tuple[str, str]]) -> None:
    rows = [
        {"endpoint": endpoint, "state": state, "amount": amount}
        for (endpoint, state), amount in sorted(sums.items())
        if amount
    ]
    if rows:
        db.execute(insert(tallies), rows)
