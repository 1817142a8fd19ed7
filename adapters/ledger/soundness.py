"""Whether a SQLite ledger's file is sound before anything is done with it.

A worker that was killed leaves its log (`-wal`) beside the file. Where an older copy of the file is put there, SQLite would
lay the newer log over it, and what comes of that is neither. A file that is damaged already is refused as well.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy.engine import make_url

from adapters.ledger.generation import logged_elsewhere
from schemas.errors import Misconfigured, RetryLater

_REMEDY = (
    " Stop all workers, put a whole backup in its place, remove the files ending in -wal and -shm beside it, leave the"
    " one ending in .mark, and start again (docs/operations.md, Back up)"
)
_NOT_ITS_OWN = "the ledger's file was restored beside the log (-wal) of another state of it, which would damage it."
_DAMAGED = "the ledger's file is damaged."


def require_sound(url: str) -> None:
    """Misconfigured where the SQLite file at this URL is damaged, or would be by opening it. Other databases see to it."""
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
