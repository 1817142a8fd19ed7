"""Open readings joined again after their device's pairing changed: each goes to the patient it now belongs to, or leaves.

A reading is charted for whom the newest pairing names, whatever was known when it came.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from streams.telemetry.kernel.admit import AMBIGUOUS, MISMATCH, OPENED, UNPAIRED
from streams.telemetry.kernel.closure import window_end
from streams.telemetry.kernel.compiled import I32, I64, U8, compiled
from streams.telemetry.kernel.pairings import NOBODY, Intervals, patient_at
from streams.telemetry.kernel.store import FREE, NOWHERE, OPEN, SETTLED, OpenRows, Streams
from streams.telemetry.kernel.vital_table import VitalColumns

MOST_WITHDRAWN = 5_000
"""So many readings leave in one closing pass at most: bounds memory, and how long the event loop is held."""


class Withdrawn(NamedTuple):
    """Columns, one element a reading that left: why, and the reading."""

    fate: U8
    stream: I32
    time_ms: I64
    value_micro: I64
    seq: I64
    offset: I64
    arrival_ms: I64
    place: I32


def blank_withdrawn(size: int) -> Withdrawn:
    """Room for so many."""
    time, value, seq, offset, arrival = (np.zeros(size, np.int64) for _ in range(5))
    stream, place = (np.zeros(size, np.int32) for _ in range(2))
    return Withdrawn(np.zeros(size, np.uint8), stream, time, value, seq, offset, arrival, place)


@compiled
def _fate(patient: int, row: int, rows: OpenRows) -> int:
    if patient < 0:
        return UNPAIRED if patient == NOBODY else AMBIGUOUS
    return MISMATCH if rows.claimed[row] and rows.patient[row] != patient else OPENED


@compiled
def _withdraw(row: int, stream: int, fate: int, rows: OpenRows, out: Withdrawn, at: int) -> None:
    out.fate[at], out.stream[at], out.place[at] = fate, stream, rows.place[row]
    out.time_ms[at], out.value_micro[at], out.seq[at] = rows.time_ms[row], rows.value_micro[row], rows.seq[row]
    out.offset[at], out.arrival_ms[at] = rows.offset[row], rows.arrival_ms[row]
    rows.offset[row] = SETTLED
    rows.free[rows.counters[FREE]] = row
    rows.counters[FREE] += 1
    rows.counters[OPEN] -= 1


@compiled
def _rejoin_stream(
    device: int, stream: int, width_ms: int, pairings: Intervals, streams: Streams, rows: OpenRows, out: Withdrawn,
    at: int,
) -> int:  # fmt: skip
    """Give the next free place in `out`; once that is full, what should leave stays for another time."""
    row, kept = streams.head[stream], np.int32(NOWHERE)
    streams.head[stream], streams.oldest_end[stream], streams.oldest_arrival[stream] = NOWHERE, SETTLED, SETTLED
    while row != NOWHERE:
        following = rows.next_row[row]
        patient = patient_at(pairings, device, rows.time_ms[row])
        fate = _fate(patient, row, rows)
        if fate != OPENED and at < out.fate.shape[0]:
            _withdraw(row, stream, fate, rows, out, at)
            at += 1
        else:
            if fate == OPENED:
                rows.patient[row] = patient
            if kept == NOWHERE:
                streams.head[stream] = row
            else:
                rows.next_row[kept] = row
            kept = row
            rows.next_row[row] = NOWHERE
            end = window_end(rows.time_ms[row], width_ms)
            streams.oldest_end[stream] = min(streams.oldest_end[stream], end)
            streams.oldest_arrival[stream] = min(streams.oldest_arrival[stream], rows.arrival_ms[row])
        row = following
    return at


@compiled
def rejoin(
    devices: I32, vitals: VitalColumns, pairings: Intervals, streams: Streams, rows: OpenRows, out: Withdrawn
) -> tuple[int, int]:
    """Join these devices' open readings again: (how many of the devices are done, how many readings left)."""
    count, at = vitals.window_ms.shape[0], 0
    for d in range(devices.shape[0]):
        for vital in range(count):
            stream = devices[d] * count + vital
            if streams.head[stream] != NOWHERE:
                at = _rejoin_stream(devices[d], stream, vitals.window_ms[vital], pairings, streams, rows, out, at)
        if at == out.fate.shape[0]:
            return d, at
    return devices.shape[0], at
