"""The quarantine and late topics as the report needs them: readings by position and windows by id, each with a reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from schemas import quarantine_header
from schemas.ports.kafka import ConsumedRecord
from schemas.ports.reconciliation import QuarantinedOrLateReading, ReadingPosition
from schemas.progress import PartitionProgress
from schemas.reasons import Reason
from streams.reconcile.windows import RetainedSince

WHOLE = frozenset({Reason.OVERSIZED, Reason.UNREADABLE})
"""Reasons for which a record, or a batch of records, is quarantined as one, however many measurements it has."""


class Add(NamedTuple):
    """The methods of the store that add records."""

    reading: Callable[[QuarantinedOrLateReading], None]
    window: Callable[[str, str], None]


def read_quarantined_or_late(
    records: Iterable[ConsumedRecord], progress: Mapping[int, PartitionProgress], add: Add, retained: RetainedSince
) -> int:
    """Add quarantined readings and windows; returns the number of unreadable records.

    Readings that were not processed yet (a worker crashed in between) are left out: they will be quarantined again.
    """
    unreadable = 0
    for record in records:
        retained.note(record)
        header = quarantine_header.parse(record.value)
        window_id = quarantine_header.window_id(header) if header is not None and header.kind == "window" else None
        if header is None or (header.kind == "window" and window_id is None):
            unreadable += 1
        elif window_id is not None:
            add.window(window_id, header.reason)
        elif (at := progress.get(header.source.partition)) and header.source.offset < at.position:
            source = header.source
            position = ReadingPosition(source.partition, source.offset, source.index)
            add.reading(QuarantinedOrLateReading(position, header.reason, source.last_offset))
    return unreadable


class QuarantinedRanges:
    """Records of one partition that were quarantined as one each. Ask for offsets in ascending order, then for the count."""

    def __init__(self, ranges: Iterable[tuple[int, int]]) -> None:
        self._ranges = iter(ranges)
        self._next = next(self._ranges, None)
        self._last = -1
        self._firsts = 0
        self._begins = 0

    def begin(self, offset: int) -> None:
        """Count the ranges that begin at this offset or after."""
        self._begins = offset

    def holds(self, offset: int) -> bool:
        """Whether this record is in the latest range that begins at it or before."""
        while self._next is not None and self._next[0] <= offset:
            self._pass()
        return offset <= self._last

    def count(self) -> int:
        """How many begin at the offset or after; no record follows."""
        while self._next is not None:
            self._pass()
        return self._firsts

    def _pass(self) -> None:
        first, self._last = self._next or (0, -1)
        self._firsts += first >= self._begins
        self._next = next(self._ranges, None)
