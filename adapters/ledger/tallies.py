"""How many operations each endpoint has in each state, without counting them: every change adds its difference.

Differences are rows of their own, so that no two workers wait for one number; tidying adds them up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from sqlalchemy import Connection, delete, func, insert, select

from adapters.ledger.tables import tallies

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


_COLUMNS = tallies.c.endpoint, tallies.c.state, tallies.c.amount


def _add(db: Connection, sums: Counter[tuple[str, str]]) -> None:
    rows = [
        {"endpoint": endpoint, "state": state, "amount": amount}
        for (endpoint, state), amount in sorted(sums.items())
        if amount
    ]
    if rows:
        db.execute(insert(tallies), rows)
