"""What was set aside, as the report needs it: each reading once, by where it stands in the log."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Set
from typing import NamedTuple

from schemas import quarantine_header
from schemas.ports.kafka import Stored
from schemas.progress import PartitionProgress
from schemas.reasons import Reason
from streams.reconcile.windows import KeptSince, Place

_WHOLE = frozenset({Reason.OVERSIZED, Reason.UNREADABLE})
"""Reasons for which a record, or a batch of records, is set aside as one, however many measurements it has."""


class Whole:
    """Ranges of offsets of one partition that were set aside as one each."""

    def __init__(self, ranges: Mapping[int, int]) -> None:
        self._first = sorted(ranges)
        self._last = [ranges[first] for first in self._first]

    def since(self, offset: int) -> int:
        """How many begin here or later."""
        return len(self._first) - bisect_left(self._first, offset)

    def holds(self, offset: int) -> bool:
        """Whether this record is in one of them."""
        at = bisect_right(self._first, offset) - 1
        return at >= 0 and offset <= self._last[at]


class Asides(NamedTuple):
    """Readings by place and windows by id, each with its reason; what cannot be told; and from when on it is whole."""

    readings: dict[Place, str]
    windows: dict[str, str]
    whole: dict[int, dict[int, int]]
    unreadable: int
    kept_since: KeptSince


def read_asides(records: Iterable[Stored], progress: Mapping[int, PartitionProgress], elsewhere: Set[Place]) -> Asides:
    """Those that do not count elsewhere. Those of readings not yet judged (a crash in between) come again."""
    found = Asides({}, {}, {}, 0, KeptSince())
    unreadable = 0
    for record in records:
        found.kept_since.note(record)
        aside = quarantine_header.parse(record.value)
        window_id = quarantine_header.window_id(aside) if aside is not None and aside.kind == "window" else None
        if aside is None or (aside.kind == "window" and window_id is None):
            unreadable += 1
        elif window_id is not None:
            found.windows.setdefault(window_id, aside.reason)
        elif (at := progress.get(aside.source.partition)) and aside.source.offset < at.position:
            _note(found, aside, elsewhere)
    return found._replace(unreadable=unreadable)


def _note(found: Asides, aside: quarantine_header.QuarantineHeader, elsewhere: Set[Place]) -> None:
    source = aside.source
    place = (source.partition, source.offset, source.index)
    if place in elsewhere:
        return
    found.readings[place] = aside.reason
    if aside.reason in _WHOLE and source.index == 0:
        last = source.offset if source.last_offset is None else source.last_offset
        found.whole.setdefault(source.partition, {})[source.offset] = last
