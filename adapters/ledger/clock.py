"""The ledger's clock: the database's, the same for every worker, however wrong its own clock is."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import Connection, text

Clock = Callable[[Connection], int]
"""Microseconds since the epoch, as the database of this connection says."""

FLUSHED_BYTES = "flushed_bytes"
"""Where a connection keeps how much of PostgreSQL's log was durable when its transaction began: all earlier commits."""

_NOW = text(
    "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,"
    " pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')::bigint"
)


def database_clock(db: Connection) -> int:
    """PostgreSQL's clock; a SQLite file has that of the one machine whose processes open it."""
    if db.dialect.name == "postgresql":
        now_us, db.info[FLUSHED_BYTES] = db.execute(_NOW).one()
        return int(now_us)
    return time.time_ns() // 1000
