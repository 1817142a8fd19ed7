"""The mark of a SQLite ledger: random, renewed whenever a worker takes the ledger over, and also stored in a file next to it.

A copy that is restored later has an older mark than the file next to it. Once the mark has been copied from the write-ahead
log to the file itself, this is recorded too: from then on a log next to a file with another mark belongs to another file.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import quote

from sqlalchemy import Connection, Engine, event

from adapters.ledger.identity import EXCHANGED, Ended
from schemas.errors import RetryLater

_IN_FILE = "in-file:"
_MARK = "SELECT identity FROM ledger_identity"
Look = Callable[[Connection], tuple[str, Collection[str]]]


class SqliteGuard:
    """Every new session must open the file that was taken over, by this worker or since then by another."""

    def __init__(self, engine: Engine, ended: Ended) -> None:
        self._beside = Path(f"{engine.url.database}.mark")
        self._ended = ended
        self._engine = engine
        self._taken_over = False
        event.listen(engine, "connect", self._connected)

    @contextmanager
    def taking_over(self) -> Iterator[Look]:
        """Yields a function that reads the new mark and its possible earlier values: all are listed until the commit."""
        self._taken_over = False
        with _locked(self._beside, fcntl.LOCK_EX) as marks:
            known, fresh = _read(marks), secrets.token_hex(16)

            def look(db: Connection) -> tuple[str, Collection[str]]:
                before = db.exec_driver_sql(_MARK).scalar_one()
                _write(marks, {before, fresh} & {*known, fresh})
                return fresh, known

            yield look
            _write(marks, {fresh, _IN_FILE + fresh} if self._emptied_log() else {fresh})
        self._taken_over = True

    def _emptied_log(self) -> bool:
        """Whether all of the log was copied into the file; another worker that is writing may prevent it."""
        with closing(self._engine.raw_connection()) as db:
            busy, logged, copied = db.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return bool(busy == 0 and logged == copied >= 0)

    def confirmed(self, _log_bytes: int) -> None:
        """Nothing to record: the log of a file does not show earlier commits."""

    def _connected(self, connection: sqlite3.Connection, _record: object) -> None:
        if not self._taken_over:
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


def logged_elsewhere(file: Path) -> bool:
    """Whether the log next to this file belongs to another version: the file alone lacks its earlier mark."""
    beside, log = Path(f"{file}.mark"), Path(f"{file}-wal")
    if not beside.exists() or not log.exists() or log.stat().st_size == 0:
        return False
    with _locked(beside, fcntl.LOCK_SH) as marks:
        stood = {known.removeprefix(_IN_FILE) for known in _read(marks) if known.startswith(_IN_FILE)}
        return bool(stood) and _mark_without_log(file) not in stood


def _mark_without_log(file: Path) -> str | None:
    try:
        with closing(sqlite3.connect(f"file:{quote(str(file.absolute()))}?immutable=1", uri=True)) as db:
            return str(db.execute(_MARK).fetchone()[0])
    except (sqlite3.Error, TypeError):
        return None


@contextmanager
def _locked(path: Path, how: int) -> Iterator[IO[str]]:
    with path.open("a+", encoding="ascii") as marks:
        fcntl.flock(marks, how)
        yield marks


def _read(marks: IO[str]) -> frozenset[str]:
    marks.seek(0)
    return frozenset(marks.read().split())


def _write(marks: IO[str], what: Collection[str]) -> None:
    """One write of one line, which is atomic on block devices."""
    marks.seek(0)
    marks.truncate()
    marks.write(" ".join(sorted(what)) + "\n")
    marks.flush()
    os.fsync(marks.fileno())
