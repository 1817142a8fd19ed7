"""Parses any bytes to measurements: the whole JSON contract of `telemetry.readings`, one record at a time.

This module defines the wire format; `fast_json` is a faster way to the same result for its plainest form.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Annotated, NamedTuple

import msgspec

from schemas.fixed_point import decimal_to_micro
from schemas.instants import epoch_ms
from schemas.reading import MOST_MEASUREMENTS
from schemas.reasons import Reason

_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_INT64 = 1 << 63
_VALUE_LIMIT = Decimal(10) ** 12
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
    tenant_id: Name = "default"
    patient_id: Name | None = None


class ParsedMeasurement(NamedTuple):
    """One measurement: value in millionths of the unit as given, time in epoch milliseconds."""

    tenant_id: str
    device_id: str
    patient_id: str | None
    type: str
    unit: str | None
    value_micro: int
    time_ms: int
    seq: int | None


class InvalidMeasurement(NamedTuple):
    """A measurement that cannot be used, and its device where that much can be read."""

    reason: Reason
    tenant_id: str | None = None
    device_id: str | None = None


_Fields = dict[str, msgspec.Raw]
_fields = msgspec.json.Decoder(_Fields).decode
_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode
_name = msgspec.json.Decoder(Name).decode
_flat = msgspec.json.Decoder(_Flat).decode
_frame = msgspec.json.Decoder(_Frame).decode
_measured = msgspec.json.Decoder(_Measured).decode
_NULL = b"null"
_MOST_COMMAS = 64 * MOST_MEASUREMENTS
"""A frame with more is quarantined without counting its measurements."""
_INVALID = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError)


def parse(value: bytes | None) -> Iterator[tuple[int, bytes, ParsedMeasurement | InvalidMeasurement]]:
    """(index in the frame, its bytes, result) for each measurement of a record: at least one, and never an exception."""
    text = value or b""
    try:
        fields = _fields(text)
        if not _each_once(text, fields):
            yield 0, text, InvalidMeasurement(Reason.MALFORMED)
            return
        readings = bytes(fields.get("readings", _NULL))
        if readings == _NULL:
            yield 0, text, _read_flat(text)
            return
        frame = _frame(text)
        counted = readings.count(b",") <= _MOST_COMMAS
        elements = _elements(readings) if counted else []
    except _INVALID:
        yield 0, text, InvalidMeasurement(Reason.MALFORMED)
        return
    if not _plain(frame.tenant_id, frame.device_id, frame.patient_id) or (counted and not elements):
        yield 0, text, InvalidMeasurement(Reason.MALFORMED)
    elif not counted or len(elements) > MOST_MEASUREMENTS:
        yield 0, text, InvalidMeasurement(Reason.OVERSIZED, frame.tenant_id, frame.device_id)
    else:
        for index, raw in enumerate(elements):
            element = bytes(raw)
            yield index, element, _read_element(element, frame)


def _each_once(text: bytes, fields: _Fields) -> bool:
    """Whether the object names no field twice: of two values none can be trusted.

    Every pair has a colon, and the decoder drops repeated fields: so the colons of the remaining fields are compared with
    those of the text. An escaped colon in a name would falsify the count.
    """
    left = sum(1 + name.count(":") + bytes(raw).count(b":") for name, raw in fields.items())
    escaped = b"\\u003a" in text.lower() and any(":" in name for name in fields)
    return left == text.count(b":") and not escaped


def _read_flat(value: bytes) -> ParsedMeasurement | InvalidMeasurement:
    flat = _flat(value)
    if not _plain(flat.tenant_id, flat.device_id, flat.patient_id):
        return InvalidMeasurement(Reason.MALFORMED)
    return _measurement(flat, flat.tenant_id, flat.device_id, flat.patient_id)


def _read_element(element: bytes, frame: _Frame) -> ParsedMeasurement | InvalidMeasurement:
    malformed = InvalidMeasurement(Reason.MALFORMED, frame.tenant_id, frame.device_id)
    try:
        fields = _fields(element)
        measured = _measured(element)
        tenant_id, device_id, patient_id = (_own(fields, name) for name in ("tenant_id", "device_id", "patient_id"))
    except _INVALID:
        return malformed
    if tenant_id not in (None, frame.tenant_id) or device_id not in (None, frame.device_id):
        return malformed
    if not _each_once(element, fields) or not _plain(patient_id):
        return malformed
    measurement = _measurement(measured, frame.tenant_id, frame.device_id, patient_id or frame.patient_id)
    if isinstance(measurement, ParsedMeasurement) and frame.patient_id not in (None, measurement.patient_id):
        return InvalidMeasurement(Reason.PATIENT_MISMATCH, frame.tenant_id, frame.device_id)
    return measurement


def _own(fields: _Fields, name: str) -> str | None:
    """A name that an element of a frame gives itself."""
    given = fields.get(name)
    if given is None or (name == "patient_id" and bytes(given) == _NULL):
        return None
    return _name(given)


def _measurement(
    m: _Measured, tenant_id: str, device_id: str, patient_id: str | None
) -> ParsedMeasurement | InvalidMeasurement:
    value_micro = _value_micro(bytes(m.value))
    if isinstance(m.time, datetime):
        if m.time.tzinfo is None:
            return InvalidMeasurement(Reason.NO_TIME_ZONE, tenant_id, device_id)
        time_ms = epoch_ms(m.time)
    else:
        time_ms = m.time
    if value_micro is None or not _fits(time_ms) or (m.seq is not None and not _fits(m.seq)) or not _plain(m.type):
        return InvalidMeasurement(Reason.MALFORMED, tenant_id, device_id)
    return ParsedMeasurement(tenant_id, device_id, patient_id, m.type, m.unit, value_micro, time_ms, m.seq)


def _value_micro(number: bytes) -> int | None:
    """A JSON number in millionths, rounded once half to even; None for anything else. Values past any vital are clipped."""
    if len(number) > _LONGEST_NUMBER or _NUMBER.fullmatch(number) is None:
        return None
    try:
        value = max(min(Decimal(number.decode()), _VALUE_LIMIT), -_VALUE_LIMIT)
        return decimal_to_micro(value)
    except InvalidOperation:  # an exponent beyond any number's
        return None


def _fits(number: int) -> bool:
    return -_INT64 < number < _INT64


def _plain(*names: str | None) -> bool:
    """Whether names have no control characters: those end up in keys and logs."""
    return all(name is None or name.isprintable() for name in names)
