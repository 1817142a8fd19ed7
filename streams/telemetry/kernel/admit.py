"""Admission, row by row in log order: convert, check range and clock, find the patient, separate open from late.

Membership follows from the rows alone, never from when a closing pass runs, so that any split into batches gives the same
windows. A quarantined row changes no state.
"""

from __future__ import annotations

from typing import NamedTuple

from streams.telemetry.kernel.closing_rules import close_idle, close_long_open, closed_by_watermark, window_end
from streams.telemetry.kernel.compiled import I64, NEVER, U8, compiled
from streams.telemetry.kernel.outcomes import (
    ALREADY_PROCESSED,
    AMBIGUOUS,
    CLOCK_AHEAD,
    LATE,
    MISMATCH,
    OPENED,
    OUT_OF_RANGE,
    TOO_OLD,
    UNPAIRED,
)
from streams.telemetry.kernel.pairings import UNPAIRED_PATIENT, Intervals, patient_at
from streams.telemetry.kernel.row_pool import OpenRows, acquire
from streams.telemetry.kernel.rows import NO_CLAIM, Rows
from streams.telemetry.kernel.store import Devices, SeriesState
from streams.telemetry.kernel.vital_table import UnitColumns, VitalColumns


class ClockLimits(NamedTuple):
    """How far a device's clock may be ahead of or behind the broker's."""

    ahead_ms: int
    age_ms: int


class Appended(NamedTuple):
    """Columns of the batch's records: the offset of each, and the partition's arrival clock when it was appended."""

    offset: I64
    arrival_ms: I64


@compiled
def convert(value: int, shift: int, numerator: int, denominator: int) -> int:
    """(value + shift) x numerator / denominator, rounded once, half to even."""
    product = (value + shift) * numerator
    quotient = product // denominator
    rest = product - quotient * denominator
    if 2 * rest > denominator or (2 * rest == denominator and quotient % 2 != 0):
        quotient += 1
    return quotient


@compiled
def _open_row(
    series: int, i: int, value: int, patient: int, end: int, rows: Rows, appended: Appended, state: SeriesState,
    pool: OpenRows,
) -> None:  # fmt: skip
    row, record = acquire(pool), rows.batch_index[i]
    arrival_ms = appended.arrival_ms[record]
    pool.time_ms[row] = rows.time_ms[i]
    pool.value_micro[row] = value
    pool.seq[row] = rows.seq[i]
    pool.offset[row] = appended.offset[record]
    pool.arrival_ms[row] = arrival_ms
    pool.frame_index[row] = rows.frame_index[i]
    pool.patient[row] = patient
    pool.claimed[row] = rows.claim[i] >= 0
    # At the head, so that a series lists its rows newest first; closing reverses them into log order.
    pool.next_row[row] = state.head[series]
    state.head[series] = row
    state.oldest_end[series] = min(state.oldest_end[series], end)
    state.oldest_arrival[series] = min(state.oldest_arrival[series], arrival_ms)


@compiled
def admit(
    rows: Rows, appended: Appended, limits: ClockLimits, units: UnitColumns, vitals: VitalColumns,
    pairings: Intervals, devices: Devices, state: SeriesState, pool: OpenRows, outcome: U8,
) -> None:  # fmt: skip
    """Write each row's outcome. The store must have room for every row: a compiled loop cannot grow its arrays."""
    # One loop on purpose: calling a function for each step of a row measured about 15 % slower.
    count = vitals.window_ms.shape[0]
    shortest_idle_ms = vitals.idle_ms.min()
    for i in range(rows.device.shape[0]):
        record, pair, device, time_ms = rows.batch_index[i], rows.pair[i], rows.device[i], rows.time_ms[i]
        # Never less than the row before: ArrivalClock made it monotone, and silence below is measured by it.
        arrival_ms = appended.arrival_ms[record]
        vital = units.vital[pair]
        # Before converting: a larger value would overflow 64 bits in `convert`.
        if abs(rows.value_micro[i]) > units.limit_micro[pair]:
            outcome[i] = OUT_OF_RANGE
            continue
        value = rows.value_micro[i]
        if units.shift_micro[pair] != 0 or units.numerator[pair] != units.denominator[pair]:
            value = convert(value, units.shift_micro[pair], units.numerator[pair], units.denominator[pair])
        if value < vitals.low_micro[vital] or value > vitals.high_micro[vital]:
            outcome[i] = OUT_OF_RANGE
            continue
        if time_ms > arrival_ms + limits.ahead_ms:
            outcome[i] = CLOCK_AHEAD
            continue
        if time_ms < arrival_ms - limits.age_ms:
            outcome[i] = TOO_OLD
            continue
        patient = patient_at(pairings, device, time_ms)
        if patient < 0:
            outcome[i] = UNPAIRED if patient == UNPAIRED_PATIENT else AMBIGUOUS
            continue
        if rows.claim[i] != NO_CLAIM and rows.claim[i] != patient:
            outcome[i] = MISMATCH
            continue
        # From here on the row counts as a sign of life, so device and series state may be written.
        series = device * count + vital
        width = vitals.window_ms[vital]
        end = window_end(time_ms, width)
        # The silence before this row must close windows now, not at the next pass: otherwise whether this row is late
        # would depend on when a pass ran. The same holds for windows that were open for their longest.
        if devices.last_arrival[device] != NEVER and arrival_ms - devices.last_arrival[device] >= shortest_idle_ms:
            close_idle(device, arrival_ms - devices.last_arrival[device], state, vitals)
        if arrival_ms - state.oldest_arrival[series] >= vitals.longest_open_ms[vital] or (
            vitals.sibling[vital] >= 0
            and arrival_ms - state.oldest_arrival[device * count + vitals.sibling[vital]]
            >= vitals.longest_open_ms[vital]
        ):
            close_long_open(device, vital, arrival_ms, state, pool, vitals)
        closed = max(
            state.closed_through[series],
            closed_by_watermark(devices.watermark[device], vitals.grace_ms[vital], width),
        )
        devices.last_arrival[device] = arrival_ms
        if end <= closed:
            # A window that was open when the earlier run ended was never published, even if other pairings or settings
            # close it now: only windows up to `published_through` can have counted this row before.
            published = (
                appended.offset[record] <= devices.processed_through[device] and end <= state.published_through[series]
            )
            outcome[i] = ALREADY_PROCESSED if published else LATE
            continue
        # A late row above moves no watermark: it would close windows that its own time has nothing to do with.
        devices.watermark[device] = max(devices.watermark[device], time_ms)
        state.latest[series] = max(state.latest[series], time_ms)
        outcome[i] = OPENED
        _open_row(series, i, value, patient, end, rows, appended, state, pool)
