"""Reading back what lies on `vitals.quarantine` and `vitals.late`: all but the reading itself, which may be anything."""

from __future__ import annotations

import msgspec


class AsideSource(msgspec.Struct, frozen=True, gc=False):
    """Where the reading stands in the log; a batch of records that could not be opened has a last offset too."""

    partition: int
    offset: int
    index: int = 0
    last_offset: int | None = None


class AsideHead(msgspec.Struct, frozen=True):
    """A record of `vitals.quarantine` or `vitals.late`, with the reading as bytes that nobody has looked into."""

    reason: str
    source: AsideSource
    kind: str = "reading"
    reading: msgspec.Raw = msgspec.Raw(b"null")


class _Identified(msgspec.Struct):
    window_id: str


_head = msgspec.json.Decoder(AsideHead).decode
_identified = msgspec.json.Decoder(_Identified).decode
_FAULTS = (msgspec.MsgspecError, ValueError, RecursionError)
_BEFORE_THE_READING = b',"reading":'


def head(value: bytes | None) -> AsideHead | None:
    """What was set aside, why, and where it stood; None where that cannot be told. Never an exception."""
    text = value or b""
    try:
        return _head(text)
    except _FAULTS:
        pass
    try:  # the reading cannot even be skipped (nested too deeply, say): what comes before it tells enough
        return _head(text[: text.index(_BEFORE_THE_READING)] + b"}")
    except _FAULTS:
        return None


def window_id(aside: AsideHead) -> str | None:
    """Which window was refused, where it was one."""
    try:
        return _identified(aside.reading).window_id
    except _FAULTS:
        return None
