"""Readings in the form most devices send, straight from bytes to columns: one flat JSON object, plain ASCII strings.

Whatever is not plainly that (escapes, exponents, unknown or repeated keys, frames, nulls, faults) is left to `reading_json`,
which parses all of JSON. What is parsed here gives exactly the row that `reading_json` would give: tested as a property.
Source: RFC 8259 (grammar), RFC 3339 section 5.6 (time).
"""

from __future__ import annotations

import numpy as np

from streams.telemetry.kernel.compiled import I32, I64, NEVER, U8, compiled
from streams.telemetry.kernel.interning import Table, find
from streams.telemetry.kernel.rows import NO_CLAIM, NO_SEQ, Rows

QUOTE, BACKSLASH, COLON, COMMA, OPEN, CLOSE, MINUS, PLUS, DOT = 0x22, 0x5C, 0x3A, 0x2C, 0x7B, 0x7D, 0x2D, 0x2B, 0x2E
ZERO, NINE, SPACE, TILDE = 0x30, 0x39, 0x20, 0x7E
TENANT, DEVICE, PATIENT, TYPE, UNIT, VALUE, TIME, SEQ, FIELDS = 0, 1, 2, 3, 4, 5, 6, 7, 8
KEY_NAMES = (b"tenant_id", b"device_id", b"patient_id", b"type", b"unit", b"value", b"time", b"seq")
KEY_LENGTHS = np.array([len(name) for name in KEY_NAMES], np.int64)
KEYS = np.array([list(name.ljust(10)) for name in KEY_NAMES], np.uint8)
PLAIN = np.array([SPACE <= c <= TILDE and c not in {QUOTE, BACKSLASH} for c in range(256)])
MAX_NAME = 256
DAY_MS = 86_400_000


@compiled
def _skip_space(b: U8, at: int, end: int) -> int:
    while at < end and (b[at] == SPACE or b[at] == 0x0A or b[at] == 0x0D or b[at] == 0x09):
        at += 1
    return at


@compiled
def _string_end(b: U8, at: int, end: int) -> int:
    """Index of the closing quote of the string whose text begins at `at`; -1 when it is not plain ASCII of 1–256 bytes."""
    start = at
    while at < end and PLAIN[b[at]]:
        at += 1
    return at if at < end and b[at] == QUOTE and 0 < at - start <= MAX_NAME else -1


@compiled
def _field(b: U8, s: int, e: int) -> int:
    """Which field a key names; -1 for any other."""
    n = e - s
    for k in range(FIELDS):
        if KEY_LENGTHS[k] != n or KEYS[k, 0] != b[s] or KEYS[k, 1] != b[s + 1]:
            continue
        at = 2
        while at < n and KEYS[k, at] == b[s + at]:
            at += 1
        return k if at == n else -1
    return -1


@compiled
def _integer(b: U8, at: int, end: int, most_digits: int) -> tuple[int, int]:
    """(value, index after it) of a JSON integer; index -1 when it is not one of at most so many digits."""
    negative = at < end and b[at] == MINUS
    if negative:
        at += 1
    start, value = at, 0
    while at < end and ZERO <= b[at] <= NINE:
        value = value * 10 + (int(np.int64(b[at])) - ZERO)
        at += 1
        if at - start > most_digits:
            return 0, -1
    if at == start or (b[start] == ZERO and at - start > 1):
        return 0, -1
    return (-value if negative else value), at


@compiled
def _decimal_micro(b: U8, at: int, end: int) -> tuple[int, int]:
    """(value in millionths, index after it) of a JSON number without exponent, rounded half to even; index -1 otherwise."""
    negative = at < end and b[at] == MINUS
    if negative:
        at += 1
    start, value = at, 0
    while at < end and ZERO <= b[at] <= NINE:
        value = value * 10 + (int(np.int64(b[at])) - ZERO)
        at += 1
        if at - start > 9:
            return 0, -1
    if at == start or (b[start] == ZERO and at - start > 1):
        return 0, -1
    digits, next_digit, more = 0, 0, False
    if at < end and b[at] == DOT:
        at += 1
        fraction = at
        while at < end and ZERO <= b[at] <= NINE:
            d = int(np.int64(b[at])) - ZERO
            if digits < 6:
                value = value * 10 + d
            elif digits == 6:
                next_digit = d
            elif d:
                more = True
            digits += 1
            at += 1
        if at == fraction or digits > 18:
            return 0, -1
    for _ in range(6 - min(digits, 6)):
        value *= 10
    if next_digit > 5 or (next_digit == 5 and (more or value % 2 == 1)):
        value += 1
    return (-value if negative else value), at


@compiled
def _two(b: U8, at: int) -> int:
    if b[at] < ZERO or b[at] > NINE or b[at + 1] < ZERO or b[at + 1] > NINE:
        return -1
    return (int(np.int64(b[at])) - ZERO) * 10 + int(np.int64(b[at + 1])) - ZERO


@compiled
def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 of a date in the proleptic Gregorian calendar (March-based year)."""
    y = year - (1 if month <= 2 else 0)
    era = y // 400
    yoe = y - era * 400
    doy = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146_097 + yoe * 365 + yoe // 4 - yoe // 100 + doy - 719_468


@compiled
def _month_days(year: int, month: int) -> int:
    if month == 2:
        return 29 if (year % 4 == 0 and year % 100 != 0) or year % 400 == 0 else 28
    return 30 if month == 4 or month == 6 or month == 9 or month == 11 else 31


@compiled
def _rfc3339_ms(b: U8, s: int, e: int) -> int:
    """Epoch milliseconds of an RFC 3339 time with an offset, cut below the millisecond; NEVER when it is not plainly one."""
    if (
        e - s < 20
        or b[s + 4] != MINUS
        or b[s + 7] != MINUS
        or b[s + 10] != 0x54
        or b[s + 13] != COLON
        or b[s + 16] != COLON
    ):
        return NEVER
    high, low = _two(b, s), _two(b, s + 2)
    month, day, hour, minute, second = _two(b, s + 5), _two(b, s + 8), _two(b, s + 11), _two(b, s + 14), _two(b, s + 17)
    year = high * 100 + low
    if high < 0 or low < 0 or year < 1 or month < 1 or month > 12 or day < 1 or day > _month_days(year, month):
        return NEVER
    if hour < 0 or hour > 23 or minute < 0 or minute > 59 or second < 0 or second > 59:
        return NEVER
    at, ms, digits = s + 19, 0, 0
    if b[at] == DOT:
        at += 1
        while at < e and ZERO <= b[at] <= NINE:
            if digits < 3:
                ms = ms * 10 + (int(np.int64(b[at])) - ZERO)
            digits += 1
            at += 1
        if digits == 0 or digits > 6:
            return NEVER
        for _ in range(3 - min(digits, 3)):
            ms *= 10
    offset = _offset_minutes(b, at, e)
    if offset == NEVER:
        return NEVER
    return _days(year, month, day) * DAY_MS + ((hour * 60 + minute - offset) * 60 + second) * 1000 + ms


@compiled
def _offset_minutes(b: U8, at: int, e: int) -> int:
    if at == e - 1 and b[at] == 0x5A:
        return 0
    if at != e - 6 or b[at + 3] != COLON or (b[at] != PLUS and b[at] != MINUS):
        return NEVER
    hours, minutes = _two(b, at + 1), _two(b, at + 4)
    if hours < 0 or hours > 23 or minutes < 0 or minutes > 59:
        return NEVER
    total = hours * 60 + minutes
    return -total if b[at] == MINUS else total


@compiled
def _parse_reading(b: U8, at: int, end: int, spans: I64, numbers: I64) -> bool:
    """Spans of the string fields and the numbers of one record; false when the record is not plainly a flat reading."""
    seen = 0
    at = _skip_space(b, at, end)
    if at >= end or b[at] != OPEN:
        return False
    at = _skip_space(b, at + 1, end)
    while True:
        if at >= end or b[at] != QUOTE:
            return False
        close = _string_end(b, at + 1, end)
        if close < 0:
            return False
        field = _field(b, at + 1, close)
        if field < 0 or seen & (1 << field):
            return False
        seen |= 1 << field
        at = _skip_space(b, close + 1, end)
        if at >= end or b[at] != COLON:
            return False
        at = _skip_space(b, at + 1, end)
        if at >= end:
            return False
        if field == VALUE:
            numbers[0], at = _decimal_micro(b, at, end)
        elif field == SEQ:
            numbers[2], at = _integer(b, at, end, 18)
        elif field == TIME and b[at] != QUOTE:
            numbers[1], at = _integer(b, at, end, 15)
        else:
            if b[at] != QUOTE:
                return False
            close = _string_end(b, at + 1, end)
            if close < 0:
                return False
            spans[2 * field], spans[2 * field + 1] = at + 1, close
            if field == TIME:
                numbers[1] = _rfc3339_ms(b, at + 1, close)
                if numbers[1] == NEVER:
                    return False
            at = close + 1
        if at < 0:
            return False
        at = _skip_space(b, at, end)
        if at >= end:
            return False
        if b[at] == CLOSE:
            break
        if b[at] != COMMA:
            return False
        at = _skip_space(b, at + 1, end)
    needed = (1 << DEVICE) | (1 << TYPE) | (1 << UNIT) | (1 << VALUE) | (1 << TIME)
    return _skip_space(b, at + 1, end) == end and seen & needed == needed


@compiled
def parse(
    b: U8, starts: I64, ends: I64, spans: I64, numbers: I64, devices: Table, claims: Table, pairs: Table, rows: Rows,
    rest: I32,
) -> int:  # fmt: skip
    """Write a row for every record that is plainly a flat reading; returns how many. The indices of the others go to `rest`.

    `b` ends with the name of the default tenant; `spans` and `numbers` are scratch. `rows` and `rest` have an element for
    every record, and both interners have room for a new name of every record: this loop cannot grow them.
    """
    count, others = 0, 0
    default_start, default_end = ends[-1], b.shape[0]
    for i in range(starts.shape[0]):
        # The scratch still holds the record before; fields that may be absent are set to their defaults first.
        spans[2 * TENANT], spans[2 * TENANT + 1] = default_start, default_end
        spans[2 * PATIENT] = -1
        numbers[2] = NO_SEQ
        pair = -1
        if _parse_reading(b, starts[i], ends[i], spans, numbers):
            pair = find(pairs, b, spans[2 * TYPE], spans[2 * TYPE + 1], spans[2 * UNIT], spans[2 * UNIT + 1], False)
        if pair < 0:
            rest[others] = i
            others += 1
            continue
        rows.batch_index[count], rows.frame_index[count] = i, 0
        rows.pair[count] = pair
        rows.device[count] = find(
            devices, b, spans[2 * TENANT], spans[2 * TENANT + 1], spans[2 * DEVICE], spans[2 * DEVICE + 1], True
        )
        claim = spans[2 * PATIENT]
        rows.claim[count] = (
            NO_CLAIM if claim < 0 else find(claims, b, claim, claim, claim, spans[2 * PATIENT + 1], True)
        )
        rows.value_micro[count] = numbers[0]
        rows.time_ms[count] = numbers[1]
        rows.seq[count] = numbers[2]
        count += 1
    return count
