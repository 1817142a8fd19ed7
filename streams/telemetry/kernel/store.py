"""The kernel's state of one partition: per device, per series (one vital of one device), and the open rows.

Only compiled loops write the columns; `Store` owns the arrays and grows them between batches, while no loop runs.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from streams.telemetry.kernel.compiled import I32, I64, NEVER
from streams.telemetry.kernel.row_pool import FREE, NO_OPEN_ROW, NO_ROW, OPEN, USED, OpenRows

N = TypeVar("N", bound=np.generic)


class Devices(NamedTuple):
    """By device code. An earlier run is known to have processed the device's records through `processed_through`."""

    watermark: I64
    last_arrival: I64
    processed_through: I64


class SeriesState(NamedTuple):
    """By device code x number of vitals + vital. Windows ending at or before `closed_through` are published, or due.

    Those ending at or before `published_through` were published when an earlier run wrote its progress.
    No open row's window ends before `oldest_end`, and none arrived before `oldest_arrival`.
    """

    closed_through: I64
    latest: I64
    head: I32
    oldest_end: I64
    oldest_arrival: I64
    published_through: I64


class Store:
    """The arrays, and their growth (compiled loops cannot grow them)."""

    def __init__(self, vitals: int) -> None:
        self.vitals = vitals
        self.devices = Devices(*(np.zeros(0, np.int64) for _ in range(3)))
        self.series = SeriesState(
            np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int64),
            np.zeros(0, np.int64), np.zeros(0, np.int64),
        )  # fmt: skip
        time, value, seq, offset, arrival = (np.zeros(0, np.int64) for _ in range(5))
        frame_index, patient, next_row, free = (np.zeros(0, np.int32) for _ in range(4))
        claimed, counters = np.zeros(0, np.uint8), np.zeros(3, np.int64)
        self.pool = OpenRows(
            time, value, seq, offset, arrival, frame_index, patient, claimed, next_row, free, counters
        )  # fmt: skip

    def reserve(self, devices: int, rows: int) -> None:
        """Make room for this many devices altogether and this many more rows."""
        if len(self.devices.watermark) < devices:
            self._reserve_devices(max(devices, 2 * len(self.devices.watermark), 256))
        self._reserve_rows(rows)

    def _reserve_devices(self, size: int) -> None:
        s, series = self.series, size * self.vitals
        self.devices = Devices(*(_grown(column, size, NEVER) for column in self.devices))
        self.series = SeriesState(
            _grown(s.closed_through, series, NEVER),
            _grown(s.latest, series, NEVER),
            _grown(s.head, series, NO_ROW),
            _grown(s.oldest_end, series, NO_OPEN_ROW),
            _grown(s.oldest_arrival, series, NO_OPEN_ROW),
            _grown(s.published_through, series, NEVER),
        )

    def _reserve_rows(self, rows: int) -> None:
        pool = self.pool
        needed = int(pool.counters[USED] - pool.counters[FREE]) + rows
        if len(pool.time_ms) >= needed:
            return
        used, size = len(pool.time_ms), max(needed, len(pool.time_ms) + len(pool.time_ms) // 4, 4096)
        for column in pool[:-1]:
            # In place, because a copy of all columns would double the memory. Without a reference check: no view of
            # these arrays may be kept between batches.
            column.resize(size, refcheck=False)
        pool.offset[used:] = NO_OPEN_ROW

    def known_devices(self, devices: int) -> I64:
        """Codes, among the first `devices`, of those of which any reading was admitted, in this run or an earlier one."""
        d = self.devices
        return np.flatnonzero((d.watermark[:devices] != NEVER) | (d.processed_through[:devices] != NEVER))

    def compact(self, devices: I64) -> None:
        """Drop all other devices, which must have no open rows; these get the codes from 0 upwards."""
        self.devices = Devices(*(column[devices] for column in self.devices))
        kept = (devices[:, np.newaxis] * self.vitals + np.arange(self.vitals)).ravel()
        s = self.series
        self.series = SeriesState(
            s.closed_through[kept], s.latest[kept], s.head[kept], s.oldest_end[kept],
            s.oldest_arrival[kept], s.published_through[kept],
        )  # fmt: skip

    def open_patients(self) -> tuple[I64, I32]:
        """The open rows, and the patient of each."""
        rows = np.flatnonzero(self.pool.offset[: int(self.pool.counters[USED])] != NO_OPEN_ROW)
        return rows, self.pool.patient[rows]

    @property
    def open_rows(self) -> int:
        """Readings in open windows, repeats included."""
        return int(self.pool.counters[OPEN])

    def oldest_open_end_ms(self) -> int | None:
        """End of the earliest window still open; None when nothing is open."""
        oldest = int(self.series.oldest_end.min()) if len(self.series.oldest_end) else NO_OPEN_ROW
        return None if oldest == NO_OPEN_ROW else oldest

    def first_open(self) -> tuple[int, int] | None:
        """The earliest source offset any open window needs, and when it arrived; None when nothing is open."""
        if not self.open_rows:
            return None
        # Free rows hold the largest offset there is, so the minimum is an open row's.
        row = int(self.pool.offset[: int(self.pool.counters[USED])].argmin())
        return int(self.pool.offset[row]), int(self.pool.arrival_ms[row])


def _grown(column: NDArray[N], size: int, blank: int) -> NDArray[N]:
    larger = np.full(size, blank, column.dtype)
    larger[: len(column)] = column
    return larger
