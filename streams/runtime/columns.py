"""Records as columns for the window kernel. Fetched records become columns without an object per record."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from streams.runtime.batches import Record


class Columns(NamedTuple):
    """Offsets (ascending), the broker's append times in epoch milliseconds, and the values as bytes."""

    offsets: NDArray[np.int64]
    arrivals_ms: NDArray[np.int64]
    values: list[bytes | None]

    def first(self, records: int) -> Columns:
        """The first `count` records."""
        if records == len(self.values):
            return self
        return Columns(self.offsets[:records], self.arrivals_ms[:records], self.values[:records])

    def after(self, offset: int) -> Columns:
        """Without the records before this offset."""
        at = int(np.searchsorted(self.offsets, offset))
        return self if at == 0 else Columns(self.offsets[at:], self.arrivals_ms[at:], self.values[at:])


class FetchedRecords(Sequence[Record]):
    """The client's own records of one fetch; each becomes a `Record` only when it is accessed."""

    def __init__(self, fetched: Sequence[Any]) -> None:
        self._fetched = fetched

    def __len__(self) -> int:
        return len(self._fetched)

    @overload
    def __getitem__(self, at: int) -> Record: ...
    @overload
    def __getitem__(self, at: slice) -> list[Record]: ...
    def __getitem__(self, at: int | slice) -> Record | list[Record]:
        if isinstance(at, slice):
            return [_record(r) for r in self._fetched[at]]
        return _record(self._fetched[at])

    def __iter__(self) -> Iterator[Record]:
        return map(_record, self._fetched)

    def columns(self) -> Columns:
        """Offsets, arrival times and values."""
        n = len(self._fetched)
        return Columns(
            np.fromiter([r.offset for r in self._fetched], np.int64, n),
            np.fromiter([r.timestamp for r in self._fetched], np.int64, n),
            [r.value for r in self._fetched],
        )


def _record(fetched: Any) -> Record:
    return Record(fetched.offset, fetched.timestamp, fetched.key, fetched.value, tuple(fetched.headers))


def columns_of(records: Sequence[Record]) -> Columns:
    """Any records as columns."""
    if isinstance(records, FetchedRecords):
        return records.columns()
    n = len(records)
    return Columns(
        np.fromiter([r.offset for r in records], np.int64, n),
        np.fromiter([r.timestamp_ms for r in records], np.int64, n),
        [r.value for r in records],
    )
