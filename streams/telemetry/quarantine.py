"""Quarantined and late readings as records of `vitals.quarantine` and `vitals.late`."""

from __future__ import annotations

import base64
from typing import Any

import orjson
from pydantic_core import from_json

from schemas.ports.kafka import Outgoing
from schemas.reasons import LATE, Reason
from schemas.topics import LATE_READINGS, QUARANTINE
from streams.telemetry.kernel.quarantined import QuarantinedReading, QuarantinedRow

MAX_COPIED_BYTES = 2 * 1024 * 1024
"""Base64 adds a third, and the topics accept records of 4 MiB."""
TRUNCATED_BYTES = 64 * 1024
"""So much is kept of a longer reading."""


def quarantine_record(reading: QuarantinedReading, topic: str, partition: int) -> Outgoing:
    """The record of a quarantined or late reading, with its bytes as sent; a very large reading is truncated."""
    longest = TRUNCATED_BYTES if reading.reason == Reason.OVERSIZED else MAX_COPIED_BYTES
    whole_bytes = len(reading.text) if len(reading.text) > longest else None
    parsed, raw = _as_sent(reading.text) if whole_bytes is None else (None, _base64(reading.text[:TRUNCATED_BYTES]))
    value = {
        "kind": "reading",
        "reason": reading.reason,
        "tenant_id": reading.tenant_id,
        "device_id": reading.device_id,
        "source": _source(topic, partition, reading.offset, reading.frame_index),
        "arrived": reading.arrived_ms,
        "reading": parsed,
        "raw": raw,
        "whole_bytes": whole_bytes,
    }
    target = LATE_READINGS if reading.reason == LATE else QUARANTINE
    return Outgoing(target, (reading.device_id or "").encode(), orjson.dumps(value), partition)


def quarantine_record_of_row(row: QuarantinedRow, topic: str, partition: int) -> Outgoing:
    """The record of a reading that left its open window, in canonical units; `source` says where the original is."""
    value = {
        "kind": "reading",
        "reason": row.reason,
        "tenant_id": row.tenant_id,
        "device_id": row.device_id,
        "source": _source(topic, partition, row.offset, row.frame_index),
        "arrived": row.arrived_ms,
        "reading": row.reading,
        "raw": None,
    }
    return Outgoing(QUARANTINE, row.device_id.encode(), orjson.dumps(value), partition)


def _source(topic: str, partition: int, offset: int, frame_index: int) -> dict[str, Any]:
    return {"topic": topic, "partition": partition, "offset": offset, "index": frame_index}


def _as_sent(text: bytes) -> tuple[Any, str | None]:
    """The reading's own JSON, unchanged, if every consumer of the topic can parse it; else its bytes as base64.

    JSON allows numbers of any size and any nesting; parsers do not. So two of them must accept it, the second at the depth
    that the reading has inside its record.
    """
    try:
        orjson.loads(text)
        from_json(b"[" + text + b"]")
    except ValueError:
        return None, _base64(text)
    return orjson.Fragment(text), None


def _base64(text: bytes) -> str:
    return base64.b64encode(text).decode()
