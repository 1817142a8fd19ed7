"""`schemas.ports.reconciliation.ReconciliationStore` in a private temporary SQLite database, deleted when it is closed.

Rows are appended without an index and sorted on disk once (`index`): inserting millions of random ids into a B-tree would take
far longer. SQLite puts the file into `SQLITE_TMPDIR`, or else `TMPDIR`, and holds `CACHE_KIB` of it in memory.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from hashlib import blake2b
from typing import Final

from schemas.errors import Misconfigured
from schemas.ports.reconciliation import (
    ClosedWindow,
    Counted,
    QuarantinedOrLateReading,
    ReadingPosition,
    Straddling,
    WindowCounts,
    WindowSpan,
)

CACHE_KIB: Final = 32 * 1024
ROWS_AT_ONCE: Final = 1_000
Value = str | int | bytes | None

_TABLES = """
CREATE TABLE all_windows (id BLOB, revision INT, content BLOB, tenant TEXT, device TEXT, type TEXT, start_ms INT, end_ms INT,
    partition INT, first_offset INT, last_offset INT, count INT, duplicates INT, publish INT, appended_ms INT);
CREATE TABLE all_superseded (id BLOB, revision INT, partition INT, offset INT, position INT);
CREATE TABLE all_quarantined (partition INT, offset INT, position INT, reason TEXT, last_offset INT);
CREATE TABLE all_late (partition INT, offset INT, position INT, reason TEXT, last_offset INT);
CREATE TABLE all_quarantined_windows (id BLOB, reason TEXT);
CREATE TABLE all_reported (id BLOB);
"""
_INDEXED = """
CREATE TABLE windows AS SELECT * FROM (
    SELECT *, row_number() OVER (PARTITION BY id ORDER BY revision, rowid) AS nth FROM all_windows) WHERE nth = 1;
CREATE UNIQUE INDEX windows_id ON windows (id);
CREATE INDEX windows_partition ON windows (partition, first_offset);
CREATE TABLE superseded AS SELECT DISTINCT s.partition, s.offset, s.position FROM all_superseded s
    JOIN windows w ON w.id = s.id AND w.revision = s.revision;
CREATE UNIQUE INDEX superseded_position ON superseded (partition, offset, position);
CREATE TABLE quarantined AS SELECT * FROM (
    SELECT *, row_number() OVER (PARTITION BY partition, offset, position ORDER BY rowid DESC) AS nth FROM all_quarantined q
    WHERE NOT EXISTS (SELECT 1 FROM superseded s
        WHERE (s.partition, s.offset, s.position) = (q.partition, q.offset, q.position))) WHERE nth = 1;
CREATE UNIQUE INDEX quarantined_position ON quarantined (partition, offset, position);
CREATE TABLE late AS SELECT DISTINCT partition, offset, position FROM all_late l
    WHERE NOT EXISTS (SELECT 1 FROM superseded s
        WHERE (s.partition, s.offset, s.position) = (l.partition, l.offset, l.position))
    AND NOT EXISTS (SELECT 1 FROM quarantined q
        WHERE (q.partition, q.offset, q.position) = (l.partition, l.offset, l.position));
CREATE UNIQUE INDEX late_position ON late (partition, offset, position);
CREATE TABLE quarantined_windows AS SELECT id, reason FROM (
    SELECT *, row_number() OVER (PARTITION BY id ORDER BY rowid) AS nth FROM all_quarantined_windows) WHERE nth = 1;
CREATE UNIQUE INDEX quarantined_windows_id ON quarantined_windows (id);
CREATE TABLE reported AS SELECT DISTINCT id FROM all_reported;
CREATE UNIQUE INDEX reported_id ON reported (id);
"""
_INSERTS = {
    "all_windows": "INSERT INTO all_windows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    "all_superseded": "INSERT INTO all_superseded VALUES (?, ?, ?, ?, ?)",
    "all_quarantined": "INSERT INTO all_quarantined VALUES (?, ?, ?, ?, ?)",
    "all_late": "INSERT INTO all_late VALUES (?, ?, ?, ?, ?)",
    "all_quarantined_windows": "INSERT INTO all_quarantined_windows VALUES (?, ?)",
    "all_reported": "INSERT INTO all_reported VALUES (?)",
}
_CONTRADICTIONS = (
    "SELECT count(*) FROM (SELECT 1 FROM all_windows GROUP BY id, revision HAVING min(content) <> max(content))"
)
_STRADDLING = """
SELECT tenant, device, type, start_ms, max(end_ms), max(last_offset), sum(count), sum(duplicates) FROM windows
WHERE partition = :partition AND (tenant, device, type, start_ms) IN (SELECT tenant, device, type, start_ms FROM windows
    WHERE partition = :partition AND first_offset < :offset AND last_offset >= :offset)
GROUP BY tenant, device, type, start_ms
"""
_IN_WINDOWS = """
SELECT coalesce(sum(count), 0), coalesce(sum(duplicates), 0) FROM windows WHERE partition = ? AND first_offset >= ?
"""
_OF_SPAN = " AND tenant = ? AND device = ? AND type = ? AND start_ms = ?"
_IS_QUARANTINED_OR_LATE = """
SELECT EXISTS (SELECT 1 FROM quarantined WHERE partition = ? AND offset = ? AND position = ?)
    OR EXISTS (SELECT 1 FROM late WHERE partition = ? AND offset = ? AND position = ?)
"""
_RANGES = """
SELECT offset, coalesce(last_offset, offset) FROM quarantined
WHERE partition = ? AND position = 0 AND reason IN (SELECT value FROM json_each(?)) ORDER BY offset
"""
_QUARANTINED = """
SELECT q.reason, count(*) FROM quarantined q LEFT JOIN json_each(?) b ON b.key = q.partition
WHERE q.offset >= coalesce(b.value, 0) GROUP BY q.reason
"""
_LATE = """
SELECT count(*) FROM late l LEFT JOIN json_each(?) b ON b.key = l.partition WHERE l.offset >= coalesce(b.value, 0)
"""
_WINDOW_COUNTS = """
SELECT count(*), coalesce(sum(i.id IS NOT NULL), 0),
    coalesce(sum(NOT w.publish AND i.id IS NULL AND r.id IS NULL), 0),
    coalesce(sum(i.id IS NOT NULL AND r.id IS NOT NULL), 0)
FROM windows w LEFT JOIN reported i ON i.id = w.id LEFT JOIN quarantined_windows r ON r.id = w.id WHERE w.appended_ms > ?
"""
_QUARANTINED_WINDOWS = """
SELECT r.reason, count(*) FROM quarantined_windows r JOIN windows w ON w.id = r.id
WHERE w.appended_ms > ? AND NOT EXISTS (SELECT 1 FROM reported i WHERE i.id = w.id) GROUP BY r.reason
"""


@contextmanager
def reconciliation_store() -> Iterator[SqliteReconciliationStore]:
    """A new store, deleted at the end. Misconfigured where its file cannot be written."""
    try:
        with closing(sqlite3.connect("", isolation_level=None)) as db:  # "": a private file of which no name remains
            yield SqliteReconciliationStore(db)
    except sqlite3.OperationalError as error:
        raise Misconfigured(
            f"The temporary file of the reconciliation cannot be written ({error.sqlite_errorname}). Free disk space, or set"
            " SQLITE_TMPDIR to a directory with room for about 1 GB for every million windows."
        ) from None


class SqliteReconciliationStore:
    """Collects rows in batches, sorts them once, and counts in SQL."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._rows: dict[str, list[Sequence[Value]]] = {}
        db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        db.execute("PRAGMA journal_mode = OFF")
        db.execute("PRAGMA synchronous = OFF")
        db.execute("PRAGMA temp_store = FILE")
        db.executescript(_TABLES)
        db.execute("BEGIN")

    def add_window(self, window: ClosedWindow) -> None:
        """A record of the windows topic."""
        window_id = _digest(window.window_id)
        content = _digest(window.content_hash)
        self._add("all_windows", (window_id, window.revision, content, *_span(window.span), *window[4:12]))
        for position in window.supersedes:
            self._add("all_superseded", (window_id, window.revision, *position))

    def add_quarantined(self, reading: QuarantinedOrLateReading) -> None:
        """A reading of the quarantine topic."""
        self._add("all_quarantined", (*reading.position, _text(reading.reason), reading.last_offset))

    def add_late(self, reading: QuarantinedOrLateReading) -> None:
        """A reading of the late topic."""
        self._add("all_late", (*reading.position, _text(reading.reason), reading.last_offset))

    def add_quarantined_window(self, window_id: str, reason: str) -> None:
        """A window of the quarantine topic."""
        self._add("all_quarantined_windows", (_digest(window_id), _text(reason)))

    def add_reported(self, window_ids: Iterable[str]) -> None:
        """Windows that an intent reports."""
        for window_id in window_ids:
            self._add("all_reported", (_digest(window_id),))

    def index(self) -> None:
        """Sort everything that was added."""
        for table in list(self._rows):
            self._write(table)
        self._db.execute("COMMIT")
        self._db.executescript(_INDEXED)

    def contradictions(self) -> int:
        """Revisions of windows that have more than one content."""
        return self._one(_CONTRADICTIONS)

    def superseded(self) -> int:
        """Readings in windows that were quarantined or late before."""
        return self._one("SELECT count(*) FROM superseded")

    def straddling(self, partition: int, offset: int) -> list[Straddling]:
        """Windows that begin before the offset and end at it or after."""
        rows = self._db.execute(_STRADDLING, {"partition": partition, "offset": offset})
        return [Straddling(WindowSpan(*row[:4]), *row[4:]) for row in rows]

    def in_windows(self, partition: int, offset: int, without: Iterable[WindowSpan]) -> Counted:
        """Readings in windows from the offset, except those of some spans."""
        counted = Counted(*self._db.execute(_IN_WINDOWS, (partition, offset)).fetchone())
        for span in without:
            of_span = Counted(*self._db.execute(_IN_WINDOWS + _OF_SPAN, (partition, offset, *_span(span))).fetchone())
            counted = Counted(counted.in_windows - of_span.in_windows, counted.duplicates - of_span.duplicates)
        return counted

    def is_quarantined_or_late(self, position: ReadingPosition) -> bool:
        """Whether the reading is quarantined or late."""
        return bool(self._one(_IS_QUARANTINED_OR_LATE, (*position, *position)))

    def quarantined_ranges(self, partition: int, reasons: Iterable[str]) -> Iterator[tuple[int, int]]:
        """Records that were quarantined as one, in order."""
        yield from self._db.execute(_RANGES, (partition, json.dumps(sorted(reasons))))

    def quarantined_by_reason(self, begins: Mapping[int, int]) -> dict[str, int]:
        """reason → quarantined readings."""
        return dict(self._db.execute(_QUARANTINED, (json.dumps(begins),)))

    def late(self, begins: Mapping[int, int]) -> int:
        """Late readings."""
        return self._one(_LATE, (json.dumps(begins),))

    def window_counts(self, since_ms: int) -> WindowCounts:
        """Windows appended after the instant."""
        windows, in_intents, not_published, somewhere = self._db.execute(_WINDOW_COUNTS, (since_ms,)).fetchone()
        quarantined = dict(self._db.execute(_QUARANTINED_WINDOWS, (since_ms,)))
        return WindowCounts(windows, in_intents, not_published, quarantined, somewhere)

    def _one(self, query: str, values: Sequence[Value] = ()) -> int:
        return int(self._db.execute(query, values).fetchone()[0])

    def _add(self, table: str, row: Sequence[Value]) -> None:
        rows = self._rows.setdefault(table, [])
        rows.append(row)
        if len(rows) >= ROWS_AT_ONCE:
            self._write(table)

    def _write(self, table: str) -> None:
        rows = self._rows.pop(table)
        self._db.executemany(_INSERTS[table], rows)


def _span(span: WindowSpan) -> Sequence[Value]:
    return _text(span.tenant_id), _text(span.device_id), _text(span.type), span.start_ms


def _text(text: str) -> str:
    """SQLite stores UTF-8, which has no lone surrogates."""
    return text.encode("utf-8", "replace").decode()


def _digest(text: str) -> bytes:
    """Ids and hashes are of any length; 16 bytes keep them apart."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
