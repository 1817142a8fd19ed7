"""Readings that are read again: what earlier runs are known to have done with them, so that each stands in one place.

Three things may have become of a reading before: it was set aside, its window is out, or its window was still open. Where
the pairings or the configuration have changed since, it may come out differently now.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.instants import epoch_ms
from schemas.progress import DeviceProgress
from streams.telemetry.kernel.compiled import I32, I64

if TYPE_CHECKING:
    from streams.telemetry.kernel.partition import Aside

Place = tuple[int, int]
"""Where a reading stands in its partition: the offset of its record, and its place in a frame."""

_PLACE_BITS = 31


class _Timed(msgspec.Struct):
    type: str
    time: int | datetime


_timed = msgspec.json.Decoder(_Timed).decode


class Places:
    """Very many places in little memory. Made of offset and place in turn."""

    def __init__(self, flat: array[int]) -> None:
        pairs = np.array(flat, np.int64).reshape(-1, 2)
        pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
        self._offsets = np.ascontiguousarray(pairs[:, 0])
        self._keys = self._key(np.searchsorted(self._offsets, self._offsets), pairs[:, 1])

    @property
    def end(self) -> int:
        """The offset after the last of them."""
        return int(self._offsets[-1]) + 1 if len(self._offsets) else 0

    def among(self, offsets: I64, places: I64 | I32) -> NDArray[np.bool_]:
        """Which of these places are among them."""
        if not len(self._keys):
            return np.zeros(len(offsets), np.bool_)
        last = len(self._keys) - 1
        first = np.searchsorted(self._offsets, offsets)
        keys = self._key(first, places)
        same_record = self._offsets[np.minimum(first, last)] == offsets
        same_place = self._keys[np.minimum(np.searchsorted(self._keys, keys), last)] == keys
        found: NDArray[np.bool_] = same_record & same_place
        return found

    @staticmethod
    def _key(first: NDArray[np.int64], places: I64 | I32) -> I64:
        """An offset is told by where it first stands among them, so that it and a place fit one number."""
        return (first.astype(np.int64) << _PLACE_BITS) | places


class Replay:
    """What is known of readings before `judged_position`, which an earlier run judged and told."""

    def __init__(self) -> None:
        self.judged_position = 0
        self._closed: dict[tuple[str, str], tuple[int, dict[str, int]]] = {}
        self._aside = Places(array("q"))
        self._opened: dict[tuple[str, str, str], set[Place]] = {}

    def restore(self, devices: Iterable[DeviceProgress], judged_position: int) -> None:
        """What earlier runs closed, by device."""
        self.judged_position = judged_position
        self._closed = {
            (d.tenant_id, d.device_id): (d.offset, {name: s.closed_through_ms for name, s in d.streams.items()})
            for d in devices
        }

    def restore_set_aside(self, flat: array[int]) -> None:
        """What earlier runs set aside: offset and place in turn."""
        self._aside = Places(flat)

    def passed(self, position: int) -> None:
        """Forget what only concerns readings before this position."""
        if position >= self.judged_position:
            self._closed = {}
        if position >= self._aside.end:
            self._aside = Places(array("q"))

    def untold(self, asides: Sequence[Aside]) -> list[Aside]:
        """Those that no earlier run has set aside or put into a window that is out.

        What was in an open window is told now: its window never came out, and this run does not take it.
        """
        if not asides:
            return []
        offsets = np.array([aside.offset for aside in asides], np.int64)
        before = self._aside.among(offsets, np.array([aside.place for aside in asides], np.int64))
        return [
            aside for aside, told in zip(asides, before.tolist(), strict=True) if not told and not self._is_out(aside)
        ]

    def _is_out(self, aside: Aside) -> bool:
        if aside.offset >= self.judged_position or aside.tenant_id is None or aside.device_id is None:
            return False
        offset, closed = self._closed.get((aside.tenant_id, aside.device_id), (-1, {}))
        if aside.offset > offset:
            return False
        try:
            timed = _timed(aside.text)
            instant = timed.time
            time_ms = instant if isinstance(instant, int) else epoch_ms(instant)
        except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
            return False  # it can never have been in a window
        return time_ms < closed.get(timed.type, time_ms)

    # -- set aside before, opened now ---------------------------------------------------------------------------------

    def knows_set_aside(self) -> bool:
        """Whether readings that come on may have been set aside by an earlier run."""
        return self._aside.end > 0

    def set_aside_before(self, offsets: I64, places: I32) -> NDArray[np.bool_]:
        """Which of these readings were set aside by an earlier run."""
        return self._aside.among(offsets, places)

    def opened(self, tenant_id: str, device_id: str, vital: str, place: Place) -> None:
        """A reading that was set aside before is in an open window now, which will name it."""
        self._opened.setdefault((tenant_id, device_id, vital), set()).add(place)

    def any_opened(self) -> bool:
        """Whether any open window has such a reading."""
        return bool(self._opened)

    def opened_of(self, tenant_id: str, device_id: str, vital: str) -> set[Place]:
        """Those of one stream."""
        return self._opened.get((tenant_id, device_id, vital), set())

    def settled(self, offset: int) -> None:
        """No open window has a reading before this offset any more."""
        left = {key: {place for place in places if place[0] >= offset} for key, places in self._opened.items()}
        self._opened = {key: places for key, places in left.items() if places}
