"""What the kernel remembers of one partition: per device, per stream (one vital of one device), and the open readings."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from streams.telemetry.kernel.compiled import I32, I64, NEVER, U8

NOWHERE = -1
SETTLED = np.iinfo(np.int64).max
USED, FREE, OPEN = 0, 1, 2
N = TypeVar("N", bound=np.generic)


class Devices(NamedTuple):
    """By device code. `judged` is the source offset up to which an earlier run is known to have settled this device."""

    watermark: I64
    last_arrival: I64
    judged: I64


class Streams(NamedTuple):
    """By device code x number of vitals + vital. Windows ending at or before `closed_through` are out, or due.

    Those ending at or before `told_through` were out when an earlier run told its progress.
    No open row ends before `oldest_end`, and none arrived before `oldest_arrival`.
    """

    closed_through: I64
    latest: I64
    head: I32
    oldest_end: I64
    oldest_arrival: I64
    told_through: I64


class OpenRows(NamedTuple):
    """Readings in open windows: a pool, each stream's rows linked from its head, newest first.

    `claimed` rows named the patient themselves.
    """

    time_ms: I64
    value_micro: I64
    seq: I64
    offset: I64
    arrival_ms: I64
    place: I32
    patient: I32
    claimed: U8
    next_row: I32
    free: I32
    counters: I64


class Store:
    """The arrays, and their growth (compiled loops cannot grow them)."""

    def __init__(self, vitals: int) -> None:
        self.vitals = vitals
        self.devices = Devices(*(np.zeros(0, np.int64) for _ in range(3)))
        self.streams = Streams(
            np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int64),
            np.zeros(0, np.int64), np.zeros(0, np.int64),
        )  # fmt: skip
        time, value, seq, offset, arrival = (np.zeros(0, np.int64) for _ in range(5))
        place, patient, following, free = (np.zeros(0, np.int32) for _ in range(4))
        claimed, counters = np.zeros(0, np.uint8), np.zeros(3, np.int64)
        self.rows = OpenRows(
            time, value, seq, offset, arrival, place, patient, claimed, following, free, counters
        )  # fmt: skip

    def reserve(self, devices: int, rows: int) -> None:
        """Make room for this many devices altogether and this many more rows."""
        if len(self.devices.watermark) < devices:
            d, s = self.devices, self.streams
            size = max(devices, 2 * len(d.watermark), 256)
            self.devices = Devices(*(_filled(a, size, NEVER) for a in (d.watermark, d.last_arrival, d.judged)))
            self.streams = Streams(
                _filled(s.closed_through, size * self.vitals, NEVER),
                _filled(s.latest, size * self.vitals, NEVER),
                _filled(s.head, size * self.vitals, NOWHERE),
                _filled(s.oldest_end, size * self.vitals, SETTLED),
                _filled(s.oldest_arrival, size * self.vitals, SETTLED),
                _filled(s.told_through, size * self.vitals, NEVER),
            )
        self._reserve_rows(rows)

    def _reserve_rows(self, rows: int) -> None:
        r = self.rows
        needed = int(r.counters[USED] - r.counters[FREE]) + rows
        if len(r.time_ms) >= needed:
            return
        used, size = len(r.time_ms), max(needed, len(r.time_ms) + len(r.time_ms) // 4, 4096)
        for column in r[:-1]:
            column.resize(size, refcheck=False)  # in place: a copy of all columns would double the memory
        r.offset[used:] = SETTLED

    def accepted(self, devices: int) -> I64:
        """Codes, of so many, of the devices of which anything was ever taken, in this run or an earlier one."""
        known = (self.devices.watermark[:devices] != NEVER) | (self.devices.judged[:devices] != NEVER)
        return np.flatnonzero(known)

    def keep(self, devices: I64) -> None:
        """Forget all other devices, which must have no open rows; these get the codes from 0 upwards."""
        self.devices = Devices(*(column[devices] for column in self.devices))
        streams = (devices[:, np.newaxis] * self.vitals + np.arange(self.vitals)).ravel()
        s = self.streams
        self.streams = Streams(
            s.closed_through[streams], s.latest[streams], s.head[streams], s.oldest_end[streams],
            s.oldest_arrival[streams], s.told_through[streams],
        )  # fmt: skip

    def open_patients(self) -> tuple[I64, I32]:
        """The open rows, and the patient of each."""
        rows = np.flatnonzero(self.rows.offset[: int(self.rows.counters[USED])] != SETTLED)
        return rows, self.rows.patient[rows]

    @property
    def open_rows(self) -> int:
        """Readings in open windows, repeats included."""
        return int(self.rows.counters[OPEN])

    def oldest_open_end_ms(self) -> int | None:
        """End of the earliest window still open; None when nothing is open."""
        oldest = int(self.streams.oldest_end.min()) if len(self.streams.oldest_end) else SETTLED
        return None if oldest == SETTLED else oldest

    def first_open(self) -> tuple[int, int] | None:
        """The earliest source offset any open window needs, and when it arrived; None when nothing is open."""
        if not self.open_rows:
            return None
        row = int(self.rows.offset[: int(self.rows.counters[USED])].argmin())
        return int(self.rows.offset[row]), int(self.rows.arrival_ms[row])


def _filled(array: NDArray[N], size: int, blank: int) -> NDArray[N]:
    larger = np.full(size, blank, array.dtype)
    larger[: len(array)] = array
    return larger
