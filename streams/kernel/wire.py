"""Any bytes to readings or refusals: the whole JSON contract of `telemetry.readings`, one record at a time.

The exact meaning of the wire format lives here; `scan` is a quick way to the same result for the plainest form.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import Annotated, NamedTuple

import msgspec

from schemas.reasons import Reason

_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_INT64 = 1 << 63
_VALUE_LIMIT = Decimal(10) ** 12
_MICRO = Decimal(1_000_000)
_EXACT = Context(prec=100, rounding=ROUND_HALF_EVEN)
_LONGEST_NUMBER = 64

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class _Measured(msgspec.Struct, gc=False):
    type: Name
    value: msgspec.Raw
    time: int | datetime
    unit: Annotated[str, msgspec.Meta(max_length=256)] | None = None
    seq: int | None = None


class _Flat(_Measured, gc=False, kw_only=True):
    device_id: Name
    tenant_id: Name = "default"
    patient_id: Name | None = None


class _Frame(msgspec.Struct, gc=False):
    device_id: Name
    readings: list[msgspec.Raw]
    tenant_id: Name = "default"
    patient_id: Name | None = None


class _Shape(msgspec.Struct, gc=False):
    readings: msgspec.Raw = msgspec.Raw()


class Measured(NamedTuple):
    """One measurement as understood: value in millionths of the unit as given, time in epoch milliseconds."""

    tenant_id: str
    device_id: str
    patient_id: str | None
    type: str
    unit: str | None
    value_micro: int
    time_ms: int
    seq: int | None


class Refused(NamedTuple):
    """A measurement that cannot be read, with whose device it was where that much can be told."""

    reason: Reason
    tenant_id: str | None = None
    device_id: str | None = None


_shape = msgspec.json.Decoder(_Shape).decode
_flat = msgspec.json.Decoder(_Flat).decode
_frame = msgspec.json.Decoder(_Frame).decode
_measured = msgspec.json.Decoder(_Measured).decode
_NO_READINGS = (b"", b"null")
_UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError)


def read(value: bytes | None) -> Iterator[tuple[int, bytes, Measured | Refused]]:
    """(index in the frame, its bytes, measurement or refusal) for each measurement; at least one, and never an exception."""
    try:
        framed = value is not None and bytes(_shape(value).readings) not in _NO_READINGS
        if not framed:
            yield 0, value or b"", _read_flat(value or b"")
            return
        frame = _frame(value or b"")
    except _UNREADABLE:
        yield 0, value or b"", Refused(Reason.MALFORMED)
        return
    if not frame.readings or not _plain(frame.tenant_id, frame.device_id, frame.patient_id):
        yield 0, value or b"", Refused(Reason.MALFORMED)
        return
    for index, raw in enumerate(frame.readings):
        yield index, bytes(raw), _read_measured(raw, frame)


def _read_flat(value: bytes) -> Measured | Refused:
    try:
        flat = _flat(value)
    except _UNREADABLE:
        return Refused(Reason.MALFORMED)
    if not _plain(flat.tenant_id, flat.device_id, flat.patient_id):
        return Refused(Reason.MALFORMED)
    return _understand(flat, flat.tenant_id, flat.device_id, flat.patient_id)


def _read_measured(raw: msgspec.Raw, frame: _Frame) -> Measured | Refused:
    try:
        measured = _measured(raw)
    except _UNREADABLE:
        return Refused(Reason.MALFORMED, frame.tenant_id, frame.device_id)
    return _understand(measured, frame.tenant_id, frame.device_id, frame.patient_id)


def _understand(m: _Measured, tenant_id: str, device_id: str, patient_id: str | None) -> Measured | Refused:
    value_micro = _value_micro(bytes(m.value))
    if isinstance(m.time, datetime):
        if m.time.tzinfo is None:
            return Refused(Reason.NO_TIME_ZONE, tenant_id, device_id)
        time_ms = (m.time - _EPOCH) // _MS
    else:
        time_ms = m.time
    if value_micro is None or not _fits(time_ms) or (m.seq is not None and not _fits(m.seq)) or not _plain(m.type):
        return Refused(Reason.MALFORMED, tenant_id, device_id)
    return Measured(tenant_id, device_id, patient_id, m.type, m.unit, value_micro, time_ms, m.seq)


def _value_micro(number: bytes) -> int | None:
    """A JSON number in millionths, rounded once half to even; None for anything else. Values past any vital are clipped."""
    if len(number) > _LONGEST_NUMBER or _NUMBER.fullmatch(number) is None:
        return None
    try:
        value = max(min(Decimal(number.decode()), _VALUE_LIMIT), -_VALUE_LIMIT)
        return int(_EXACT.quantize(_EXACT.multiply(value, _MICRO), Decimal(1)))
    except InvalidOperation:  # an exponent beyond any number's
        return None


def _fits(number: int) -> bool:
    return -_INT64 < number < _INT64


def _plain(*names: str | None) -> bool:
    """Whether names have no control characters: those end up in keys and logs."""
    return all(name is None or name.isprintable() for name in names)
