"""The mark of a SQLite ledger: random, new whenever a worker takes the ledger up, in the file and in another beside it.

A copy restored later has a mark of before, which the file beside it no longer knows.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sqlalchemy import Connection, Engine, event

from adapters.ledger.identity import EXCHANGED, Ended
from schemas.errors import RetryLater

_MARK = "SELECT identity FROM ledger_identity"
Look = Callable[[Connection], tuple[str, Collection[str]]]


class SqliteGuard:
    """Every new session must be with the file that was taken up, or was taken up again since by another worker."""

    def __init__(self, engine: Engine, ended: Ended) -> None:
        self._beside = Path(f"{engine.url.database}.mark")
        self._ended = ended
        self._taken_up = False
        event.listen(engine, "connect", self._connected)

    @contextmanager
    def taking_up(self) -> Iterator[Look]:
        """Gives what tells a ledger's new mark, and the marks it may have had: both stand there until it is committed."""
        self._taken_up = False
        with _locked(self._beside, fcntl.LOCK_EX) as marks:
            known, fresh = _read(marks), secrets.token_hex(16)

            def look(db: Connection) -> tuple[str, Collection[str]]:
                before = db.exec_driver_sql(_MARK).scalar_one()
                _write(marks, {before, fresh} & {*known, fresh})
                return fresh, known

            yield look
            _write(marks, {fresh})
        self._taken_up = True

    def confirmed(self, _log_bytes: int) -> None:
        """A file's log tells nothing."""

    def _connected(self, connection: sqlite3.Connection, _record: object) -> None:
        if not self._taken_up:
            return
        try:
            with _locked(self._beside, fcntl.LOCK_SH) as marks:
                known = _read(marks)
                row = connection.execute(_MARK).fetchone()
        except (sqlite3.Error, OSError) as error:
            raise RetryLater(f"the ledger's file cannot be read ({type(error).__name__})") from None
        if row is None or row[0] not in known:
            connection.close()
            self._ended(EXCHANGED)


@contextmanager
def _locked(path: Path, how: int) -> Iterator[IO[str]]:
    with path.open("a+", encoding="ascii") as marks:
        fcntl.flock(marks, how)
        yield marks


def _read(marks: IO[str]) -> frozenset[str]:
    marks.seek(0)
    return frozenset(marks.read().split())


def _write(marks: IO[str], what: Collection[str]) -> None:
    """One write of one line, which a crash does not leave half done on any disk that has blocks."""
    marks.seek(0)
    marks.truncate()
    marks.write(" ".join(sorted(what)) + "\n")
    marks.flush()
    os.fsync(marks.fileno())
