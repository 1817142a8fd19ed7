"""The windows topic as the report needs it: each window once, and from when on the topic is whole."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import msgspec

from schemas.instants import epoch_ms
from schemas.ports.kafka import Stored

Place = tuple[int, int, int]
"""Partition, offset, and place in a frame: one reading."""


class WindowSource(msgspec.Struct, gc=False):
    """The first and last offset of a window's readings."""

    partition: int
    first_offset: int
    last_offset: int


class Named(msgspec.Struct, gc=False):
    """A reading that a window names."""

    offset: int
    index: int = 0


class Window(msgspec.Struct):
    """A closed window, as far as it is counted."""

    window_id: str
    content_hash: str
    tenant_id: str
    device_id: str
    type: str
    start: str
    end: str
    count: int
    publish: bool
    source: WindowSource
    duplicates: int = 0
    revision: int = 0
    supersedes: list[Named] = []
    appended_ms: int = 0

    def span_ms(self) -> tuple[int, int]:
        """Its start and end in epoch milliseconds."""
        start, end = (epoch_ms(datetime.fromisoformat(at)) for at in (self.start, self.end))
        return start, end


class Windows(NamedTuple):
    """Every window, by id; ids that came out in two ways; records that cannot be read; when the first kept was appended."""

    by_id: dict[str, Window]
    contradictions: int
    unreadable: int
    kept_since_ms: int

    def superseded(self) -> set[Place]:
        """Readings in windows that an earlier run had set aside: they count here, and no longer there."""
        return {(w.source.partition, p.offset, p.index) for w in self.by_id.values() for p in w.supersedes}


class KeptSince:
    """When the first record that retention has left was appended; -1 where it has taken nothing."""

    def __init__(self) -> None:
        self.by_partition: dict[int, int] = {}

    def note(self, record: Stored) -> None:
        """To be told every record."""
        self.by_partition.setdefault(record.partition, record.appended_ms if record.offset > 0 else -1)

    def newest(self) -> int:
        """From here on every partition is whole. One that was emptied says nothing."""
        return max(self.by_partition.values(), default=-1)


_window = msgspec.json.Decoder(Window).decode


def read_windows(records: Iterable[Stored]) -> Windows:
    """Distinct windows. An amendment repeats readings that were counted before, or as late: the first revision counts."""
    first: dict[str, Window] = {}
    hashes: dict[tuple[str, int], set[str]] = {}
    unreadable, kept = 0, KeptSince()
    for record in records:
        kept.note(record)
        try:
            window = _window(record.value or b"")
        except (msgspec.MsgspecError, ValueError, RecursionError):
            unreadable += 1
            continue
        known = first.get(window.window_id)
        if known is None or window.revision < known.revision:
            window.appended_ms = record.appended_ms
            first[window.window_id] = window
        hashes.setdefault((window.window_id, window.revision), set()).add(window.content_hash)
    contradictions = sum(1 for contents in hashes.values() if len(contents) > 1)
    return Windows(first, contradictions, unreadable, kept.newest())
