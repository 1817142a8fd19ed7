"""Row by row, in log order: convert, check range and clock, find the patient, tell open from late, and keep the open ones.

Membership follows from the rows alone, never from when windows are looked through, so any split into batches gives the
same windows. Rejected rows touch no state.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from schemas.reasons import Reason
from streams.telemetry.kernel.closure import close_idle, close_long_open, closed_by_watermark, window_end
from streams.telemetry.kernel.compiled import I16, I32, I64, NEVER, U8, compiled
from streams.telemetry.kernel.pairings import NOBODY, Intervals, patient_at
from streams.telemetry.kernel.store import FREE, OPEN, USED, Devices, OpenRows, Streams
from streams.telemetry.kernel.vital_table import UnitColumns, VitalColumns

NO_CLAIM = -1
OPENED, LATE, SETTLED_BEFORE = 0, 1, 2
OUT_OF_RANGE, CLOCK_AHEAD, TOO_OLD, UNPAIRED, AMBIGUOUS, MISMATCH = 3, 4, 5, 6, 7, 8
REASONS: dict[int, Reason] = {
    OUT_OF_RANGE: Reason.OUT_OF_RANGE,
    CLOCK_AHEAD: Reason.CLOCK_AHEAD,
    TOO_OLD: Reason.TOO_OLD,
    UNPAIRED: Reason.UNPAIRED,
    AMBIGUOUS: Reason.AMBIGUOUS_PAIRING,
    MISMATCH: Reason.PATIENT_MISMATCH,
}
"""What the fate of a refused row is called outside."""


class Incoming(NamedTuple):
    """Columns of decoded rows with where each was appended to the log, and when by the partition's arrival clock."""

    offset: I64
    arrival_ms: I64
    place: I32
    device: I32
    claim: I32
    pair: I16
    value_micro: I64
    time_ms: I64
    seq: I64


class Limits(NamedTuple):
    """How far a device clock may be off the broker's."""

    ahead_ms: int
    age_ms: int


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
def _keep(
    stream: int, at: int, value: int, patient: int, end: int, c: Incoming, streams: Streams, rows: OpenRows
) -> None:
    if rows.counters[FREE] > 0:
        rows.counters[FREE] -= 1
        row = rows.free[rows.counters[FREE]]
    else:
        row = np.int32(rows.counters[USED])
        rows.counters[USED] += 1
    rows.counters[OPEN] += 1
    rows.time_ms[row] = c.time_ms[at]
    rows.value_micro[row] = value
    rows.seq[row] = c.seq[at]
    rows.offset[row] = c.offset[at]
    rows.arrival_ms[row] = c.arrival_ms[at]
    rows.place[row] = c.place[at]
    rows.patient[row] = patient
    rows.claimed[row] = c.claim[at] >= 0
    rows.next_row[row] = streams.head[stream]
    streams.head[stream] = row
    streams.oldest_end[stream] = min(streams.oldest_end[stream], end)
    streams.oldest_arrival[stream] = min(streams.oldest_arrival[stream], c.arrival_ms[at])


@compiled
def admit(
    c: Incoming, limits: Limits, units: UnitColumns, vitals: VitalColumns, pairings: Intervals, devices: Devices,
    streams: Streams, rows: OpenRows, fate: U8,
) -> None:  # fmt: skip
    """Decide each row's fate; the store must have room for all of them."""
    count = vitals.window_ms.shape[0]
    shortest_idle_ms = vitals.idle_ms.min()
    for i in range(c.offset.shape[0]):
        pair, device, time_ms, arrival_ms = c.pair[i], c.device[i], c.time_ms[i], c.arrival_ms[i]
        vital = units.vital[pair]
        if abs(c.value_micro[i]) > units.limit_micro[pair]:
            fate[i] = OUT_OF_RANGE
            continue
        value = c.value_micro[i]
        if units.shift_micro[pair] != 0 or units.numerator[pair] != units.denominator[pair]:
            value = convert(value, units.shift_micro[pair], units.numerator[pair], units.denominator[pair])
        if value < vitals.low_micro[vital] or value > vitals.high_micro[vital]:
            fate[i] = OUT_OF_RANGE
            continue
        if time_ms > arrival_ms + limits.ahead_ms:
            fate[i] = CLOCK_AHEAD
            continue
        if time_ms < arrival_ms - limits.age_ms:
            fate[i] = TOO_OLD
            continue
        patient = patient_at(pairings, device, time_ms)
        if patient < 0:
            fate[i] = UNPAIRED if patient == NOBODY else AMBIGUOUS
            continue
        if c.claim[i] != NO_CLAIM and c.claim[i] != patient:
            fate[i] = MISMATCH
            continue
        stream = device * count + vital
        width = vitals.window_ms[vital]
        end = window_end(time_ms, width)
        if devices.last_arrival[device] != NEVER and arrival_ms - devices.last_arrival[device] >= shortest_idle_ms:
            close_idle(device, arrival_ms - devices.last_arrival[device], streams, vitals)
        if arrival_ms - streams.oldest_arrival[stream] >= vitals.longest_open_ms[vital] or (
            vitals.sibling[vital] >= 0
            and arrival_ms - streams.oldest_arrival[device * count + vitals.sibling[vital]]
            >= vitals.longest_open_ms[vital]
        ):
            close_long_open(device, vital, arrival_ms, streams, rows, vitals)
        closed = max(
            streams.closed_through[stream],
            closed_by_watermark(devices.watermark[device], vitals.grace_ms[vital], width),
        )
        devices.last_arrival[device] = arrival_ms
        if end <= closed:
            # what an earlier run had open never came out, though other pairings or settings may close it now
            told = c.offset[i] <= devices.judged[device] and end <= streams.told_through[stream]
            fate[i] = SETTLED_BEFORE if told else LATE
            continue
        devices.watermark[device] = max(devices.watermark[device], time_ms)
        streams.latest[stream] = max(streams.latest[stream], time_ms)
        fate[i] = OPENED
        _keep(stream, i, value, patient, end, c, streams, rows)
