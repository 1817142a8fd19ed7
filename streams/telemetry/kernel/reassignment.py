"""Reassigns open readings after their device's pairing was corrected: to the patient it names now, or to the quarantine.

A reading is charted for the patient of the newest pairing, whatever was known when it arrived.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from streams.telemetry.kernel.closing_rules import window_end
from streams.telemetry.kernel.compiled import I32, I64, U8, compiled
from streams.telemetry.kernel.outcomes import AMBIGUOUS, MISMATCH, OPENED, UNPAIRED
from streams.telemetry.kernel.pairings import UNPAIRED_PATIENT, Intervals, patient_at
from streams.telemetry.kernel.row_pool import NO_OPEN_ROW, NO_ROW, OpenRows, release
from streams.telemetry.kernel.store import SeriesState
from streams.telemetry.kernel.vital_table import VitalColumns

MAX_QUARANTINED_ROWS = 5_000
"""Readings quarantined in one closing pass: bounds memory, and how long the event loop is blocked."""


class ReassignmentRows(NamedTuple):
    """Columns, one element a reading that leaves its open window: its outcome, and the reading."""

    outcome: U8
    series: I32
    time_ms: I64
    value_micro: I64
    seq: I64
    offset: I64
    arrival_ms: I64
    frame_index: I32


def empty_reassignment_rows(size: int) -> ReassignmentRows:
    """Room for so many readings."""
    time, value, seq, offset, arrival = (np.zeros(size, np.int64) for _ in range(5))
    series, frame_index = (np.zeros(size, np.int32) for _ in range(2))
    return ReassignmentRows(np.zeros(size, np.uint8), series, time, value, seq, offset, arrival, frame_index)


@compiled
def _outcome(patient: int, row: int, pool: OpenRows) -> int:
    if patient < 0:
        return UNPAIRED if patient == UNPAIRED_PATIENT else AMBIGUOUS
    return MISMATCH if pool.claimed[row] and pool.patient[row] != patient else OPENED


@compiled
def _quarantine(row: int, series: int, outcome: int, pool: OpenRows, out: ReassignmentRows, at: int) -> None:
    out.outcome[at], out.series[at], out.frame_index[at] = outcome, series, pool.frame_index[row]
    out.time_ms[at], out.value_micro[at], out.seq[at] = pool.time_ms[row], pool.value_micro[row], pool.seq[row]
    out.offset[at], out.arrival_ms[at] = pool.offset[row], pool.arrival_ms[row]
    release(row, pool)


@compiled
def _reassign_series(
    device: int, series: int, width_ms: int, pairings: Intervals, state: SeriesState, pool: OpenRows, out: ReassignmentRows,
    at: int,
) -> int:  # fmt: skip
    """Returns the next free element of `out`. Once that is full, rows that should leave stay linked for the next pass."""
    # The list is rebuilt from the rows that stay, in the same order: `last_kept` is the end of the rebuilt list.
    row, last_kept = state.head[series], np.int32(NO_ROW)
    state.head[series], state.oldest_end[series], state.oldest_arrival[series] = NO_ROW, NO_OPEN_ROW, NO_OPEN_ROW
    while row != NO_ROW:
        following = pool.next_row[row]  # before the row may be released
        patient = patient_at(pairings, device, pool.time_ms[row])
        outcome = _outcome(patient, row, pool)
        if outcome != OPENED and at < out.outcome.shape[0]:
            _quarantine(row, series, outcome, pool, out, at)
            at += 1
        else:
            if outcome == OPENED:
                pool.patient[row] = patient
            if last_kept == NO_ROW:
                state.head[series] = row
            else:
                pool.next_row[last_kept] = row
            last_kept = row
            pool.next_row[row] = NO_ROW
            end = window_end(pool.time_ms[row], width_ms)
            state.oldest_end[series] = min(state.oldest_end[series], end)
            state.oldest_arrival[series] = min(state.oldest_arrival[series], pool.arrival_ms[row])
        row = following
    return at


@compiled
def reassign_open_rows(
    devices: I32, vitals: VitalColumns, pairings: Intervals, state: SeriesState, pool: OpenRows, out: ReassignmentRows
) -> tuple[int, int]:
    """Reassign these devices' open readings: (how many of the devices are done, how many readings leave)."""
    count, at = vitals.window_ms.shape[0], 0
    for d in range(devices.shape[0]):
        for vital in range(count):
            series = devices[d] * count + vital
            if state.head[series] != NO_ROW:
                at = _reassign_series(devices[d], series, vitals.window_ms[vital], pairings, state, pool, out, at)
        if at == out.outcome.shape[0]:
            return d, at
    return devices.shape[0], at
