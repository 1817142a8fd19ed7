"""The readings topic: measurements that were processed, from the first record on that every topic concerned still retains.

A window may straddle that record. It counts with those of its readings that are retained: they are found by decoding them, by
device, vital and time, and are neither quarantined nor late.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from schemas.ports.kafka import ConsumedRecord
from schemas.ports.reconciliation import ReadingPosition, ReconciliationStore, Straddling
from schemas.progress import PartitionProgress
from streams.reconcile.quarantine import QuarantinedRanges
from streams.telemetry.kernel import reading_json

_Series = tuple[str, str, str]


@dataclass
class _Group:
    """The windows of one span, and how many of their readings are retained."""

    windows: Straddling
    retained: int = 0

    def holds(self, offset: int, time_ms: int) -> bool:
        return self.windows.span.start_ms <= time_ms < self.windows.end_ms and offset <= self.windows.last_offset


@dataclass
class Partition:
    """One partition of the readings topic, record by record."""

    number: int
    progress: PartitionProgress | None
    retained_since_ms: int
    first_offset: int
    store: ReconciliationStore
    ranges: QuarantinedRanges
    processed: int = 0
    unread: int = 0
    in_windows: int = 0
    duplicates: int = 0
    begins: int | None = None
    begins_ms: int | None = None
    _next: int = 0
    _groups: dict[_Series, list[_Group]] = field(default_factory=dict)
    _groups_end: int = 0

    def add(self, record: ConsumedRecord) -> None:
        """The next record that is retained."""
        self._next = record.offset + 1
        if self.begins is None and record.appended_ms > self.retained_since_ms:
            self._begin(record.offset)
            self.begins_ms = record.appended_ms
        if self.progress is None or record.offset >= self.progress.position:
            self.unread += 1
        elif self.begins is not None and not self.ranges.holds(record.offset):
            self.processed += self._measurements(record)

    def end(self) -> None:
        """Call it after the last record. A quarantined range counts as one; windows count with their retained readings."""
        if self.begins is None:
            self._begin(max(self._next, self.first_offset))
        self.processed += self.ranges.count()
        groups = [group for groups in self._groups.values() for group in groups]
        for group in groups:
            retained = min(group.retained, group.windows.readings + group.windows.duplicates)
            self.in_windows += min(retained, group.windows.readings)
            self.duplicates += retained - min(retained, group.windows.readings)
        counted = self.store.in_windows(self.number, self.begins or 0, [group.windows.span for group in groups])
        self.in_windows += counted.in_windows
        self.duplicates += counted.duplicates

    def _begin(self, offset: int) -> None:
        self.begins = offset
        self.ranges.begin(offset)
        for windows in self.store.straddling(self.number, offset):
            self._groups.setdefault(windows.span[:3], []).append(_Group(windows))
            self._groups_end = max(self._groups_end, windows.last_offset + 1)

    def _measurements(self, record: ConsumedRecord) -> int:
        value = record.value or b""
        if record.offset < self._groups_end:
            return self._count_retained(record.offset, value)
        if b"readings" not in value and b"\\u" not in value:
            return 1
        return sum(1 for _ in reading_json.parse(value))

    def _count_retained(self, offset: int, value: bytes) -> int:
        measurements = 0
        for index, _, found in reading_json.parse(value):
            measurements += 1
            if isinstance(found, reading_json.ParsedMeasurement):
                for group in self._groups.get((found.tenant_id, found.device_id, found.type), ()):
                    if group.holds(offset, found.time_ms) and not self._is_quarantined_or_late(offset, index):
                        group.retained += 1
        return measurements

    def _is_quarantined_or_late(self, offset: int, index: int) -> bool:
        return self.store.is_quarantined_or_late(ReadingPosition(self.number, offset, index))


def count(partitions: dict[int, Partition], records: Iterable[ConsumedRecord]) -> None:
    """Count all partitions. A partition that was created during the count has no processed readings."""
    for record in records:
        if (partition := partitions.get(record.partition)) is not None:
            partition.add(record)
    for partition in partitions.values():
        partition.end()
