"""The port of the store in which reconciliation collects what the topics and the ledger hold, which may be millions of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol


class ReadingPosition(NamedTuple):
    """One reading: its record and, in a frame, its index."""

    partition: int
    offset: int
    frame_index: int


class WindowSpan(NamedTuple):
    """The series and the start of a window; several windows share it where the device changed hands."""

    tenant_id: str
    device_id: str
    type: str
    start_ms: int


class ClosedWindow(NamedTuple):
    """A window of the topic, as far as it is counted."""

    window_id: str
    revision: int
    content_hash: str
    span: WindowSpan
    end_ms: int
    partition: int
    first_offset: int
    last_offset: int
    readings: int
    duplicates: int
    publish: bool
    appended_ms: int
    supersedes: Sequence[ReadingPosition]


class QuarantinedOrLateReading(NamedTuple):
    """A reading of the quarantine or late topic; `last_offset` where a range of records was quarantined as one."""

    position: ReadingPosition
    reason: str
    last_offset: int | None


class Straddling(NamedTuple):
    """All windows of one span, of which one begins before an offset and ends at it or after."""

    span: WindowSpan
    end_ms: int
    last_offset: int
    readings: int
    duplicates: int


class Counted(NamedTuple):
    """Readings of closed windows: those in windows, and their duplicates."""

    in_windows: int
    duplicates: int


class WindowCounts(NamedTuple):
    """Windows by outcome."""

    windows: int
    in_intents: int
    not_published: int
    quarantined: Mapping[str, int]
    """By reason: quarantined for every endpoint."""
    quarantined_for_another: int


class ReconciliationStore(Protocol):
    """Add everything, `index` once, then query. Memory stays bounded, however much is added."""

    def add_window(self, window: ClosedWindow) -> None:
        """A record of the windows topic. The lowest revision of a window counts, and of repeats the first."""
        ...

    def add_quarantined(self, reading: QuarantinedOrLateReading) -> None:
        """A reading of the quarantine topic. Of repeats the last counts."""
        ...

    def add_late(self, reading: QuarantinedOrLateReading) -> None:
        """A reading of the late topic."""
        ...

    def add_quarantined_window(self, window_id: str, reason: str) -> None:
        """A window of the quarantine topic. Of repeats the first counts."""
        ...

    def add_reported(self, window_ids: Iterable[str]) -> None:
        """Windows that an intent in the ledger reports."""
        ...

    def index(self) -> None:
        """Everything is added. A superseded reading counts in its window only, a quarantined one not as late too."""
        ...

    def contradictions(self) -> int:
        """Revisions of windows that have more than one content."""
        ...

    def superseded(self) -> int:
        """Readings in windows that were quarantined or late before."""
        ...

    def straddling(self, partition: int, offset: int) -> list[Straddling]:
        """Windows of a partition that begin before this offset and end at it or after, with all others of their spans."""
        ...

    def in_windows(self, partition: int, offset: int, without: Iterable[WindowSpan]) -> Counted:
        """Readings in the windows of a partition that begin at this offset or after, except those of some spans."""
        ...

    def is_quarantined_or_late(self, position: ReadingPosition) -> bool:
        """Whether the reading is quarantined or late."""
        ...

    def quarantined_ranges(self, partition: int, reasons: Iterable[str]) -> Iterator[tuple[int, int]]:
        """(first offset, last offset) of the records that were quarantined as one for such a reason, in order."""
        ...

    def quarantined_by_reason(self, begins: Mapping[int, int]) -> dict[str, int]:
        """reason → quarantined readings from these offsets of the partitions."""
        ...

    def late(self, begins: Mapping[int, int]) -> int:
        """Late readings from these offsets of the partitions."""
        ...

    def window_counts(self, since_ms: int) -> WindowCounts:
        """Windows that were appended after this instant."""
        ...
