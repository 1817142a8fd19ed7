"""Closing windows: which are due, what is a repeat, what conflicts, and exact statistics of the rest."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from streams.telemetry.kernel.closure import close_idle, close_long_open, closed_by_watermark, window_end
from streams.telemetry.kernel.compiled import I32, I64, NEVER, compiled
from streams.telemetry.kernel.fast_json import NO_SEQ
from streams.telemetry.kernel.store import FREE, NOWHERE, OPEN, SETTLED, Devices, OpenRows, Streams
from streams.telemetry.kernel.vital_table import VitalColumns


class ClosedWindows(NamedTuple):
    """Columns, one element a window. Values in millionths; the median is doubled, so that it stays whole."""

    stream: I32
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

    stream: I32
    patient: I32
    time_ms: I64
    value_micro: I64
    seq: I64
    offset: I64
    arrival_ms: I64
    place: I32


@compiled
def due(
    arrival_ms: int, devices: Devices, streams: Streams, rows: OpenRows, vitals: VitalColumns, device_count: int,
    most: int, out: I32,
) -> tuple[int, bool]:  # fmt: skip
    """Streams that hold rows of a closed window, into `out`: (how many, whether there may be more).

    `arrival_ms` is the partition's arrival clock: a device silent by it for its idle time is closed, and a window that was
    open for its longest. Ends after the device
    with which there are at least `most`; a device is never divided, so that both halves of a panel close together.
    """
    count = vitals.window_ms.shape[0]
    found = 0
    for device in range(device_count):
        if found >= most:
            return found, True
        if devices.last_arrival[device] != NEVER and arrival_ms != NEVER:
            close_idle(device, arrival_ms - devices.last_arrival[device], streams, vitals)
            for vital in range(count):
                if arrival_ms - streams.oldest_arrival[device * count + vital] >= vitals.longest_open_ms[vital]:
                    close_long_open(device, vital, arrival_ms, streams, rows, vitals)
        for vital in range(count):
            stream = device * count + vital
            if streams.head[stream] == NOWHERE:
                continue
            by_event_time = closed_by_watermark(
                devices.watermark[device], vitals.grace_ms[vital], vitals.window_ms[vital]
            )
            streams.closed_through[stream] = max(streams.closed_through[stream], by_event_time)
            if streams.oldest_end[stream] <= streams.closed_through[stream]:
                out[found] = stream
                found += 1
    return found, False


@compiled
def lengths(due_streams: I32, streams: Streams, rows: OpenRows, out: I64) -> None:
    """How many rows each of these streams holds."""
    for i in range(due_streams.shape[0]):
        n, row = 0, streams.head[due_streams[i]]
        while row != NOWHERE:
            n += 1
            row = rows.next_row[row]
        out[i] = n


@compiled
def _take(stream: int, width_ms: int, streams: Streams, rows: OpenRows, ids: I32) -> int:
    """Unlink the stream's rows whose window is closed, oldest arrival first, into `ids`; gives how many."""
    closed, taken = streams.closed_through[stream], 0
    row, kept = streams.head[stream], np.int32(NOWHERE)
    streams.head[stream], streams.oldest_end[stream], streams.oldest_arrival[stream] = NOWHERE, SETTLED, SETTLED
    while row != NOWHERE:
        following = rows.next_row[row]
        end = window_end(rows.time_ms[row], width_ms)
        if end <= closed:
            ids[taken] = row
            taken += 1
        else:
            if kept == NOWHERE:
                streams.head[stream] = row
            else:
                rows.next_row[kept] = row
            kept = row
            rows.next_row[row] = NOWHERE
            streams.oldest_end[stream] = min(streams.oldest_end[stream], end)
            streams.oldest_arrival[stream] = min(streams.oldest_arrival[stream], rows.arrival_ms[row])
        row = following
    for i in range(taken // 2):
        ids[i], ids[taken - 1 - i] = ids[taken - 1 - i], ids[i]
    return taken


@compiled
def _sort_by_time(ids: I32, n: int, rows: OpenRows) -> None:
    """Nearly sorted already, as a device sends; else by a merge sort, so that a hostile order costs no more."""
    disorder = 0
    for i in range(1, n):
        if rows.time_ms[ids[i]] < rows.time_ms[ids[i - 1]]:
            disorder += 1
    if disorder == 0:
        return
    times = np.empty(n, np.int64)
    for i in range(n):
        times[i] = rows.time_ms[ids[i]]
    order = np.argsort(times, kind="mergesort")
    copy = ids[:n].copy()
    for i in range(n):
        ids[i] = copy[order[i]]


@compiled
def _measurements(ids: I32, begin: int, end: int, rows: OpenRows) -> int:
    """How many measurements these equal readings of one instant are: one a `seq`; those without one repeat any other."""
    if end - begin == 1:
        return 1
    seqs = np.empty(end - begin, np.int64)
    for i in range(begin, end):
        seqs[i - begin] = rows.seq[ids[i]]
    seqs.sort()
    distinct = 1
    for i in range(1, end - begin):
        if seqs[i] != seqs[i - 1] and seqs[i - 1] != NO_SEQ:
            distinct += 1
    return distinct


@compiled
def _contradicts(ids: I32, begin: int, end: int, rows: OpenRows) -> bool:
    for i in range(begin + 1, end):
        if rows.value_micro[ids[i]] != rows.value_micro[ids[begin]]:
            return True
    return False


@compiled
def _emit_window(
    stream: int, patient: int, end_ms: int, ids: I32, n: int, rows: OpenRows, values: I64, out: ClosedWindows, w: int,
    conflicts: Conflicts, k: int,
) -> tuple[int, int]:  # fmt: skip
    """Statistics of one window of one patient from its rows sorted by time; gives the next free places (windows, conflicts)."""
    count, total, first_offset, last_offset = 0, 0, SETTLED, -1
    begin = 0
    while begin < n:
        after = begin + 1
        while after < n and rows.time_ms[ids[after]] == rows.time_ms[ids[begin]]:
            after += 1
        if _contradicts(ids, begin, after, rows):
            for i in range(begin, after):
                row = ids[i]
                conflicts.stream[k], conflicts.patient[k] = stream, patient
                conflicts.time_ms[k], conflicts.value_micro[k] = rows.time_ms[row], rows.value_micro[row]
                conflicts.seq[k], conflicts.offset[k], conflicts.place[k] = (
                    rows.seq[row],
                    rows.offset[row],
                    rows.place[row],
                )
                conflicts.arrival_ms[k] = rows.arrival_ms[row]
                k += 1
        else:
            for _ in range(_measurements(ids, begin, after, rows)):
                values[count] = rows.value_micro[ids[begin]]
                total += values[count]
                count += 1
            if out.duplicates[w] == 0:
                out.first_time_ms[w] = rows.time_ms[ids[begin]]
            out.last_time_ms[w] = rows.time_ms[ids[begin]]
            for i in range(begin, after):
                first_offset = min(first_offset, rows.offset[ids[i]])
                last_offset = max(last_offset, rows.offset[ids[i]])
            out.duplicates[w] += after - begin
        begin = after
    if count == 0:
        out.duplicates[w] = 0
        return w, k
    out.stream[w], out.patient[w], out.end_ms[w], out.size[w] = stream, patient, end_ms, count
    out.duplicates[w] -= count
    out.first[w], out.last[w], out.total[w] = values[0], values[count - 1], total
    values[:count].sort()
    out.low[w], out.high[w] = values[0], values[count - 1]
    out.median_doubled[w] = values[(count - 1) // 2] + values[count // 2]
    out.first_offset[w], out.last_offset[w] = first_offset, last_offset
    return w + 1, k


@compiled
def close(
    due_streams: I32, streams: Streams, rows: OpenRows, vitals: VitalColumns, ids: I32, part: I32, values: I64,
    out: ClosedWindows, conflicts: Conflicts,
) -> tuple[int, int]:  # fmt: skip
    """Close these streams' due windows; gives how many windows and how many conflicting readings there are.

    A stream's windows come in ascending order of time; of one window, patients in the order in which they were measured.
    """
    count = vitals.window_ms.shape[0]
    w, k = 0, 0
    for d in range(due_streams.shape[0]):
        stream = due_streams[d]
        width = vitals.window_ms[stream % count]
        n = _take(stream, width, streams, rows, ids)
        _sort_by_time(ids, n, rows)
        begin = 0
        while begin < n:
            end_ms, after = window_end(rows.time_ms[ids[begin]], width), begin + 1
            while after < n and rows.time_ms[ids[after]] < end_ms:
                after += 1
            for i in range(begin, after):
                patient = rows.patient[ids[i]]
                seen = False
                for j in range(begin, i):
                    if rows.patient[ids[j]] == patient:
                        seen = True
                        break
                if seen:
                    continue
                m = 0
                for j in range(i, after):
                    if rows.patient[ids[j]] == patient:
                        part[m] = ids[j]
                        m += 1
                w, k = _emit_window(stream, patient, end_ms, part, m, rows, values, out, w, conflicts, k)
            begin = after
        for i in range(n):
            row = ids[i]
            rows.offset[row] = SETTLED
            rows.free[rows.counters[FREE]] = row
            rows.counters[FREE] += 1
        rows.counters[OPEN] -= n
    return w, k
