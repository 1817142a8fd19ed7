"""Checks the file of a SQLite ledger before it is opened.

A killed worker leaves its write-ahead log (`-wal`) next to the file. If the file is then replaced by an older copy, SQLite
would apply the newer log to it and corrupt it. A file that is already damaged is rejected as well.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy.engine import make_url

from adapters.ledger.generation import logged_elsewhere
from schemas.errors import Misconfigured, RetryLater

_REMEDY = (
    " Stop all workers, replace the file with a backup, remove the files ending in -wal and -shm next to it, keep the"
    " one ending in .mark, and start again (docs/operations.md, Back up)"
)
_NOT_ITS_OWN = (
    "the ledger's file was restored next to a write-ahead log (-wal) of another version of it, which would damage it."
)
_DAMAGED = "the ledger's file is damaged."


def require_sound(url: str) -> None:
    """Misconfigured if the SQLite file at this URL is damaged, or opening would damage it. Other databases check themselves."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        return
    file = Path(parsed.database)
    if not file.exists():
        return
    if logged_elsewhere(file):
        raise Misconfigured(_NOT_ITS_OWN + _REMEDY)
    if not _is_whole(file):
        raise Misconfigured(_DAMAGED + _REMEDY)


def _is_whole(file: Path) -> bool:
    try:
        with closing(sqlite3.connect(file, timeout=10)) as db:
            return bool(db.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.OperationalError as error:
        raise RetryLater(f"the ledger's file cannot be read ({type(error).__name__})") from None
    except sqlite3.DatabaseError:
        return False
