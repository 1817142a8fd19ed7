"""The readings topic: measurements that were judged, from the first record on that every topic concerned still keeps.

A window may straddle that record. It counts with those of its readings that are kept: they are found by decoding them, by
device, vital and time, and are neither in quarantine nor late.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from schemas.ports.kafka import Stored
from schemas.progress import PartitionProgress
from streams.reconcile.asides import Whole
from streams.reconcile.windows import Place, Window
from streams.telemetry.kernel import reading_json

_Stream = tuple[str, str, str]


@dataclass
class _Straddling:
    """All windows of one device, vital and span (a patient each), of which one begins before what is kept."""

    start_ms: int
    end_ms: int
    last_offset: int = 0
    count: int = 0
    duplicates: int = 0
    kept: int = 0


@dataclass
class Partition:
    """One partition of the readings topic, record by record."""

    progress: PartitionProgress | None
    kept_since_ms: int
    first_offset: int
    windows: Collection[Window]
    asides: Collection[Place]
    whole: Whole
    judged: int = 0
    unread: int = 0
    in_windows: int = 0
    duplicates: int = 0
    begins: int | None = None
    begins_ms: int | None = None
    _next: int = 0
    _straddling: dict[_Stream, list[_Straddling]] = field(default_factory=dict)
    _straddling_end: int = 0

    def take(self, record: Stored) -> None:
        """The next record that is kept."""
        self._next = record.offset + 1
        if self.begins is None and record.appended_ms > self.kept_since_ms:
            self._begin(record.offset)
            self.begins_ms = record.appended_ms
        if self.progress is None or record.offset >= self.progress.position:
            self.unread += 1
        elif self.begins is not None and not self.whole.holds(record.offset):
            self.judged += self._measurements(record)

    def end(self) -> None:
        """No record follows. What was set aside as a whole counts as one, and windows as far as their readings are kept."""
        if self.begins is None:
            self._begin(max(self._next, self.first_offset))
        begins = self.begins or 0
        self.judged += self.whole.since(begins)
        groups = [group for groups in self._straddling.values() for group in groups]
        spans = {(stream, g.start_ms) for stream, groups in self._straddling.items() for g in groups}
        for group in groups:
            kept = min(group.kept, group.count + group.duplicates)
            self.in_windows += min(kept, group.count)
            self.duplicates += kept - min(kept, group.count)
        for window in self.windows:
            if window.source.first_offset >= begins and not (spans and self._span(window) in spans):
                self.in_windows += window.count
                self.duplicates += window.duplicates

    def _begin(self, offset: int) -> None:
        self.begins = offset
        across = {self._span(w) for w in self.windows if w.source.first_offset < offset <= w.source.last_offset}
        for window in self.windows if across else ():
            stream, start_ms = self._span(window)
            if (stream, start_ms) not in across:
                continue
            groups = self._straddling.setdefault(stream, [])
            group = next((known for known in groups if known.start_ms == start_ms), None)
            if group is None:
                group = _Straddling(*window.span_ms())
                groups.append(group)
            group.last_offset = max(group.last_offset, window.source.last_offset)
            group.count += window.count
            group.duplicates += window.duplicates
            self._straddling_end = max(self._straddling_end, window.source.last_offset + 1)

    @staticmethod
    def _span(window: Window) -> tuple[_Stream, int]:
        return (window.tenant_id, window.device_id, window.type), window.span_ms()[0]

    def _measurements(self, record: Stored) -> int:
        value = record.value or b""
        if record.offset < self._straddling_end:
            return self._sought(record.partition, record.offset, value)
        if b"readings" not in value and b"\\u" not in value:
            return 1
        return sum(1 for _ in reading_json.parse(value))

    def _sought(self, partition: int, offset: int, value: bytes) -> int:
        measurements = 0
        for index, _, found in reading_json.parse(value):
            measurements += 1
            if isinstance(found, reading_json.ParsedMeasurement) and (partition, offset, index) not in self.asides:
                for group in self._straddling.get((found.tenant_id, found.device_id, found.type), ()):
                    if group.start_ms <= found.time_ms < group.end_ms and offset <= group.last_offset:
                        group.kept += 1
        return measurements


def count(partitions: dict[int, Partition], records: Iterable[Stored]) -> None:
    """All of them. A partition that was made while we counted has nothing judged."""
    for record in records:
        if (partition := partitions.get(record.partition)) is not None:
            partition.take(record)
    for partition in partitions.values():
        partition.end()
