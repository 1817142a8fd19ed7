"""Reads records of `vitals.quarantine` and `vitals.late` back: all but the reading itself, which may be any bytes."""

from __future__ import annotations

import msgspec


class QuarantineSource(msgspec.Struct, frozen=True, gc=False):
    """The coordinates of the reading; a batch of records that could not be opened has a last offset too."""

    partition: int
    offset: int
    index: int = 0
    last_offset: int | None = None


class QuarantineHeader(msgspec.Struct, frozen=True):
    """A quarantine record, with the reading as bytes that are not parsed."""

    reason: str
    source: QuarantineSource
    kind: str = "reading"
    reading: msgspec.Raw = msgspec.Raw(b"null")


class _Identified(msgspec.Struct):
    window_id: str


_header = msgspec.json.Decoder(QuarantineHeader).decode
_identified = msgspec.json.Decoder(_Identified).decode
_FAULTS = (msgspec.MsgspecError, ValueError, RecursionError)
_BEFORE_THE_READING = b',"reading":'


def parse(value: bytes | None) -> QuarantineHeader | None:
    """What was quarantined, why, and its coordinates; None if the record is not ours. Never an exception."""
    text = value or b""
    try:
        return _header(text)
    except _FAULTS:
        pass
    try:  # the reading cannot even be skipped (nested too deeply, for example): the fields before it are enough
        return _header(text[: text.index(_BEFORE_THE_READING)] + b"}")
    except _FAULTS:
        return None


def window_id(header: QuarantineHeader) -> str | None:
    """The id of a quarantined window; None for anything else."""
    try:
        return _identified(header.reading).window_id
    except _FAULTS:
        return None
