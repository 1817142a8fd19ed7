"""What time it is for the ledger: the database's clock, the same for every worker, however wrong a worker's own may be."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import Connection, text

Clock = Callable[[Connection], int]
"""Microseconds since the epoch, as the database of this connection says."""

_NOW = text("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")


def database_clock(db: Connection) -> int:
    """PostgreSQL's clock; a SQLite file has that of the one machine whose processes open it."""
    if db.dialect.name == "postgresql":
        return int(db.execute(_NOW).scalar_one())
    return time.time_ns() // 1000
