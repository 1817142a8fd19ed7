"""Which database a ledger is in, so that a failover, a restored backup or a copy is distinguished from the known one.

PostgreSQL: the cluster, its timeline (a promotion begins a new one), the database, and the table (a restore creates it again).
A SQLite file has none of these; adapters/ledger/generation.py gives it a mark.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, event

from schemas.errors import RetryLater, Unsafe

IDENTITY = (
    "SELECT 'system ' || system_identifier || ' timeline ' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)"
    " || ' database ' || (SELECT oid FROM pg_database WHERE datname = current_database())"
    " || ' table ' || 'ledger_identity'::regclass::oid,"
    " pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')::bigint FROM pg_control_system()"
)
EXCHANGED = (
    "the ledger's database is not the one this worker started with, or it lost commits: a failover or a restored backup."
    " Restart the worker: it checks the ledger and searches the charts for open operations"
)
VERSION_BEFORE = "version before"
"""In place of an identity in a ledger of a version that knew none: it is not exchanged, and has no positions yet."""
_GONE_BACK = "UPDATE ledger_identity SET identity = 'its log was set back'"
Ended = Callable[[str], object]


def stop(why: str) -> None:
    """The default action of a process whose ledger is no longer in the same database."""
    raise Unsafe(why)


class PostgresGuard:
    """Every new session must reach the database that was taken over, with everything that it confirmed to this process.

    Otherwise `ended` ends the process before the session is used.
    """

    def __init__(self, engine: Engine, ended: Ended) -> None:
        self._engine = engine
        self._ended = ended
        self._taken_over: str | None = None
        self._confirmed_bytes = 0
        event.listen(engine, "connect", self._connected)

    @contextmanager
    def taking_over(self) -> Iterator[Callable[[Connection], tuple[str, Collection[str]]]]:
        """Yields a function that reads the identity and its possible earlier values. Earlier sessions are not used again."""
        seen: list[str] = []
        self._taken_over, self._confirmed_bytes = None, 0

        def look(db: Connection) -> tuple[str, Collection[str]]:
            seen.append(str(db.exec_driver_sql(IDENTITY).one()[0]))
            return seen[-1], seen

        yield look
        self._taken_over = seen[-1]
        self._engine.dispose()

    def confirmed(self, log_bytes: int) -> None:
        """The log was durable up to here."""
        self._confirmed_bytes = max(self._confirmed_bytes, log_bytes)

    def _connected(self, connection: psycopg.Connection[Any], _record: object) -> None:
        if self._taken_over is None:
            return
        confirmed_bytes = self._confirmed_bytes
        try:
            identity, flushed_bytes = connection.execute(IDENTITY).fetchone() or ("", 0)
            connection.rollback()
            if identity == self._taken_over and flushed_bytes < confirmed_bytes:
                connection.execute(_GONE_BACK)
                connection.commit()
        except psycopg.Error as error:
            connection.close()
            raise RetryLater(f"the ledger's database does not respond ({type(error).__name__})") from None
        if identity != self._taken_over or flushed_bytes < confirmed_bytes:
            connection.close()
            self._ended(EXCHANGED)
