"""Closing windows: which are due, which readings are duplicates or conflicts, and exact statistics of the rest.

Whoever calls these loops owns the output arrays and makes them large enough: every open row may become a window of its own.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from streams.telemetry.kernel.closing_rules import close_idle, close_long_open, closed_by_watermark, window_end
from streams.telemetry.kernel.compiled import I32, I64, NEVER, compiled
from streams.telemetry.kernel.row_pool import NO_OPEN_ROW, NO_ROW, OpenRows, release
from streams.telemetry.kernel.rows import NO_SEQ
from streams.telemetry.kernel.store import Devices, SeriesState
from streams.telemetry.kernel.vital_table import VitalColumns


class ClosedWindows(NamedTuple):
    """Columns, one element a window. Values in millionths; the median is doubled, so that it stays whole."""

    series: I32
    patient: I32
    end_ms: I64
    size: I64
    duplicates: I64
    total: I64
    median_doubled: I64
    low: I64
    high: I64
    first: I64
    last: I64
    first_time_ms: I64
    last_time_ms: I64
    first_offset: I64
    last_offset: I64


class Conflicts(NamedTuple):
    """Columns, one element a reading that another one of the same device, vital and time contradicts."""

    series: I32
    patient: I32
    time_ms: I64
    value_micro: I64
    seq: I64
    offset: I64
    arrival_ms: I64
    frame_index: I32


@compiled
def due(
    arrival_ms: int, position: int, devices: Devices, state: SeriesState, pool: OpenRows, vitals: VitalColumns,
    device_count: int, most: int, out: I32,
) -> tuple[int, bool]:  # fmt: skip
    """Write the series that hold rows of a closed window into `out`: (how many, whether there may be more).

    `arrival_ms` is the partition's arrival clock, by which silence and the longest open time are measured. Stops after the
    device with which there are at least `most`; a device is never split, so that both halves of a panel close together.

    A device that an earlier run processed beyond `position` is skipped: its progress would have a smaller offset than the one
    already recorded, so the next run would not know what this run closed. Skipping delays its windows and changes none.
    """
    count = vitals.window_ms.shape[0]
    found = 0
    for device in range(device_count):
        if found >= most:
            return found, True
        if devices.processed_through[device] >= position:
            continue
        if devices.last_arrival[device] != NEVER and arrival_ms != NEVER:
            close_idle(device, arrival_ms - devices.last_arrival[device], state, vitals)
            for vital in range(count):
                if arrival_ms - state.oldest_arrival[device * count + vital] >= vitals.longest_open_ms[vital]:
                    close_long_open(device, vital, arrival_ms, state, pool, vitals)
        for vital in range(count):
            series = device * count + vital
            if state.head[series] == NO_ROW:
                continue
            by_event_time = closed_by_watermark(
                devices.watermark[device], vitals.grace_ms[vital], vitals.window_ms[vital]
            )
            state.closed_through[series] = max(state.closed_through[series], by_event_time)
            if state.oldest_end[series] <= state.closed_through[series]:
                out[found] = series
                found += 1
    return found, False


@compiled
def lengths(due_series: I32, state: SeriesState, pool: OpenRows, out: I64) -> None:
    """How many rows each of these series holds."""
    for i in range(due_series.shape[0]):
        n, row = 0, state.head[due_series[i]]
        while row != NO_ROW:
            n += 1
            row = pool.next_row[row]
        out[i] = n


@compiled
def _unlink_closed(series: int, width_ms: int, state: SeriesState, pool: OpenRows, ids: I32) -> int:
    """Unlink the series' rows whose window is closed into `ids`, in log order; returns how many."""
    closed, count = state.closed_through[series], 0
    # The list is rebuilt from the rows that stay, in the same order: `last_kept` is the end of the rebuilt list.
    row, last_kept = state.head[series], np.int32(NO_ROW)
    state.head[series], state.oldest_end[series], state.oldest_arrival[series] = NO_ROW, NO_OPEN_ROW, NO_OPEN_ROW
    while row != NO_ROW:
        following = pool.next_row[row]
        end = window_end(pool.time_ms[row], width_ms)
        if end <= closed:
            ids[count] = row
            count += 1
        else:
            if last_kept == NO_ROW:
                state.head[series] = row
            else:
                pool.next_row[last_kept] = row
            last_kept = row
            pool.next_row[row] = NO_ROW
            state.oldest_end[series] = min(state.oldest_end[series], end)
            state.oldest_arrival[series] = min(state.oldest_arrival[series], pool.arrival_ms[row])
        row = following
    # Rows were pushed at the head, so the list is newest first.
    for i in range(count // 2):
        ids[i], ids[count - 1 - i] = ids[count - 1 - i], ids[i]
    return count


@compiled
def _sort_by_time(ids: I32, n: int, pool: OpenRows) -> None:
    """Sort rows by measurement time. The sort must be stable: readings of one instant stay in log order."""
    disorder = 0
    for i in range(1, n):
        if pool.time_ms[ids[i]] < pool.time_ms[ids[i - 1]]:
            disorder += 1
    if disorder == 0:
        return
    # A device sends nearly in order, so this is rare; a merge sort keeps a hostile order from costing n².
    times = np.empty(n, np.int64)
    for i in range(n):
        times[i] = pool.time_ms[ids[i]]
    order = np.argsort(times, kind="mergesort")
    copy = ids[:n].copy()
    for i in range(n):
        ids[i] = copy[order[i]]


@compiled
def _measurements(ids: I32, begin: int, end: int, pool: OpenRows) -> int:
    """How many measurements these equal readings of one instant are: one for each `seq`; without one it repeats any other."""
    if end - begin == 1:
        return 1
    seqs = np.empty(end - begin, np.int64)
    for i in range(begin, end):
        seqs[i - begin] = pool.seq[ids[i]]
    seqs.sort()
    distinct = 1
    for i in range(1, end - begin):
        if seqs[i] != seqs[i - 1] and seqs[i - 1] != NO_SEQ:
            distinct += 1
    return distinct


@compiled
def _contradicts(ids: I32, begin: int, end: int, pool: OpenRows) -> bool:
    for i in range(begin + 1, end):
        if pool.value_micro[ids[i]] != pool.value_micro[ids[begin]]:
            return True
    return False


@compiled
def _emit_window(
    series: int, patient: int, end_ms: int, ids: I32, n: int, pool: OpenRows, values: I64, out: ClosedWindows, w: int,
    conflicts: Conflicts, k: int,
) -> tuple[int, int]:  # fmt: skip
    """Statistics of one patient's window from its rows, sorted by time; returns the next free elements (windows, conflicts)."""
    count, total, first_offset, last_offset = 0, 0, NO_OPEN_ROW, -1
    begin = 0
    while begin < n:
        after = begin + 1
        while after < n and pool.time_ms[ids[after]] == pool.time_ms[ids[begin]]:
            after += 1
        if _contradicts(ids, begin, after, pool):
            for i in range(begin, after):
                row = ids[i]
                conflicts.series[k], conflicts.patient[k] = series, patient
                conflicts.time_ms[k], conflicts.value_micro[k] = pool.time_ms[row], pool.value_micro[row]
                conflicts.seq[k], conflicts.offset[k], conflicts.frame_index[k] = (
                    pool.seq[row],
                    pool.offset[row],
                    pool.frame_index[row],
                )
                conflicts.arrival_ms[k] = pool.arrival_ms[row]
                k += 1
        else:
            for _ in range(_measurements(ids, begin, after, pool)):
                values[count] = pool.value_micro[ids[begin]]
                total += values[count]
                count += 1
            # Until the window is complete, `duplicates` counts every reading in it: zero means that this is the first.
            if out.duplicates[w] == 0:
                out.first_time_ms[w] = pool.time_ms[ids[begin]]
            out.last_time_ms[w] = pool.time_ms[ids[begin]]
            for i in range(begin, after):
                first_offset = min(first_offset, pool.offset[ids[i]])
                last_offset = max(last_offset, pool.offset[ids[i]])
            out.duplicates[w] += after - begin
        begin = after
    if count == 0:  # all contradicted: no window, and the element is used for the next one
        out.duplicates[w] = 0
        return w, k
    out.series[w], out.patient[w], out.end_ms[w], out.size[w] = series, patient, end_ms, count
    out.duplicates[w] -= count
    out.first[w], out.last[w], out.total[w] = values[0], values[count - 1], total
    values[:count].sort()
    out.low[w], out.high[w] = values[0], values[count - 1]
    out.median_doubled[w] = values[(count - 1) // 2] + values[count // 2]
    out.first_offset[w], out.last_offset[w] = first_offset, last_offset
    return w + 1, k


@compiled
def close(
    due_series: I32, state: SeriesState, pool: OpenRows, vitals: VitalColumns, ids: I32, part: I32, values: I64,
    out: ClosedWindows, conflicts: Conflicts,
) -> tuple[int, int]:  # fmt: skip
    """Close these series' due windows; returns how many windows and how many conflicting readings there are.

    A series' windows come in ascending order of time; those of one span in the order in which their patients were measured.
    """
    count = vitals.window_ms.shape[0]
    w, k = 0, 0
    for d in range(due_series.shape[0]):
        series = due_series[d]
        width = vitals.window_ms[series % count]
        n = _unlink_closed(series, width, state, pool, ids)
        _sort_by_time(ids, n, pool)
        begin = 0
        while begin < n:
            end_ms, after = window_end(pool.time_ms[ids[begin]], width), begin + 1
            while after < n and pool.time_ms[ids[after]] < end_ms:
                after += 1
            # One window for each patient who had the device in this span. There are hardly ever two, so a scan is enough.
            for i in range(begin, after):
                patient = pool.patient[ids[i]]
                seen = False
                for j in range(begin, i):
                    if pool.patient[ids[j]] == patient:
                        seen = True
                        break
                if seen:
                    continue
                m = 0
                for j in range(i, after):
                    if pool.patient[ids[j]] == patient:
                        part[m] = ids[j]
                        m += 1
                w, k = _emit_window(series, patient, end_ms, part, m, pool, values, out, w, conflicts, k)
            begin = after
        # Only now may the rows be reused: the statistics above still read them.
        for i in range(n):
            release(ids[i], pool)
    return w, k


def empty_windows(size: int) -> ClosedWindows:
    """Room for so many windows. Zeros, because `duplicates` is counted up."""
    i64 = (np.zeros(size, np.int64) for _ in range(13))
    return ClosedWindows(np.zeros(size, np.int32), np.zeros(size, np.int32), *i64)


def empty_conflicts(size: int) -> Conflicts:
    """Room for so many readings."""
    time, value, seq, offset, arrival = (np.empty(size, np.int64) for _ in range(5))
    series, patient, frame_index = (np.empty(size, np.int32) for _ in range(3))
    return Conflicts(series, patient, time, value, seq, offset, arrival, frame_index)
