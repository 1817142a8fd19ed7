"""Readings that are read again: their known outcomes in earlier runs, so that each has exactly one outcome.

An earlier run may have quarantined a reading, published its window, or ended while its window was open. The outcome may
differ now, if the pairings or the configuration have changed since.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.instants import epoch_ms
from schemas.progress import DeviceProgress
from streams.telemetry.kernel.compiled import I32, I64
from streams.telemetry.kernel.quarantined import QuarantinedReading

Coordinates = tuple[int, int]
"""A reading in its partition: the offset of its record, and its index in a frame."""

_FRAME_INDEX_BITS = 31


class _Timed(msgspec.Struct):
    type: str
    time: int | datetime


_timed = msgspec.json.Decoder(_Timed).decode


class CoordinateSet:
    """Very many coordinates in little memory. Made of offsets and frame indices in turn."""

    def __init__(self, flat: array[int]) -> None:
        pairs = np.array(flat, np.int64).reshape(-1, 2)
        pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
        self._offsets = np.ascontiguousarray(pairs[:, 0])
        self._keys = self._key(np.searchsorted(self._offsets, self._offsets), pairs[:, 1])

    @property
    def end(self) -> int:
        """The offset after the last of them."""
        return int(self._offsets[-1]) + 1 if len(self._offsets) else 0

    def contains(self, offsets: I64, frame_indices: I64 | I32) -> NDArray[np.bool_]:
        """Which of these coordinates are in the set."""
        if not len(self._keys):
            return np.zeros(len(offsets), np.bool_)
        last = len(self._keys) - 1
        first = np.searchsorted(self._offsets, offsets)
        keys = self._key(first, frame_indices)
        same_record = self._offsets[np.minimum(first, last)] == offsets
        same_reading = self._keys[np.minimum(np.searchsorted(self._keys, keys), last)] == keys
        found: NDArray[np.bool_] = same_record & same_reading
        return found

    @staticmethod
    def _key(first: NDArray[np.int64], frame_indices: I64 | I32) -> I64:
        """An offset is represented by where it first occurs in the set, so that it fits one number with the frame index."""
        return (first.astype(np.int64) << _FRAME_INDEX_BITS) | frame_indices


class Replay:
    """What is known of readings before `processed_position`, which an earlier run processed and published."""

    def __init__(self) -> None:
        self.processed_position = 0
        self._closed: dict[tuple[str, str], tuple[int, dict[str, int]]] = {}
        self._quarantined = CoordinateSet(array("q"))
        self._reopened: dict[tuple[str, str, str], set[Coordinates]] = {}

    def restore(self, devices: Iterable[DeviceProgress], processed_position: int) -> None:
        """What earlier runs closed, by device."""
        self.processed_position = processed_position
        self._closed = {
            (d.tenant_id, d.device_id): (d.offset, {name: s.closed_through_ms for name, s in d.streams.items()})
            for d in devices
        }

    def restore_quarantined(self, flat: array[int]) -> None:
        """What earlier runs quarantined: offset and frame index in turn."""
        self._quarantined = CoordinateSet(flat)

    def advance_to(self, position: int) -> None:
        """Forget what only concerns readings before this position."""
        if position >= self.processed_position:
            self._closed = {}
        if position >= self._quarantined.end:
            self._quarantined = CoordinateSet(array("q"))

    def without_processed(self, readings: Sequence[QuarantinedReading]) -> list[QuarantinedReading]:
        """Those that no earlier run has quarantined or counted in a published window.

        One that was in an open window is among them: its window was never published, and this run does not count it.
        """
        if not readings:
            return []
        offsets = np.array([reading.offset for reading in readings], np.int64)
        frame_indices = np.array([reading.frame_index for reading in readings], np.int64)
        quarantined = self._quarantined.contains(offsets, frame_indices).tolist()
        return [
            reading
            for reading, before in zip(readings, quarantined, strict=True)
            if not before and not self._is_published(reading)
        ]

    def _is_published(self, reading: QuarantinedReading) -> bool:
        """Whether a published window counts the reading. Its bytes say which window that was."""
        if reading.offset >= self.processed_position or reading.tenant_id is None or reading.device_id is None:
            return False
        offset, closed = self._closed.get((reading.tenant_id, reading.device_id), (-1, {}))
        if reading.offset > offset:
            return False
        try:
            timed = _timed(reading.text)
            instant = timed.time
            time_ms = instant if isinstance(instant, int) else epoch_ms(instant)
        except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
            return False  # it can never have been in a window
        return time_ms < closed.get(timed.type, time_ms)

    # -- quarantined by an earlier run, in an open window now -----------------------------------------------------------

    def has_quarantined(self) -> bool:
        """Whether readings to come may have been quarantined by an earlier run."""
        return self._quarantined.end > 0

    def were_quarantined(self, offsets: I64, frame_indices: I32) -> NDArray[np.bool_]:
        """Which of these readings an earlier run quarantined."""
        return self._quarantined.contains(offsets, frame_indices)

    def reopen(self, tenant_id: str, device_id: str, vital: str, reading: Coordinates) -> None:
        """A reading that was quarantined is in an open window now, which will name it."""
        self._reopened.setdefault((tenant_id, device_id, vital), set()).add(reading)

    def has_reopened(self) -> bool:
        """Whether any open window has such a reading."""
        return bool(self._reopened)

    def reopened_in(self, tenant_id: str, device_id: str, vital: str) -> set[Coordinates]:
        """Those of one series."""
        return self._reopened.get((tenant_id, device_id, vital), set())

    def forget_reopened(self, settled: int) -> None:
        """No open window has a reading before the settled offset: forget those."""
        left = {key: {r for r in readings if r[0] >= settled} for key, readings in self._reopened.items()}
        self._reopened = {key: readings for key, readings in left.items() if readings}
