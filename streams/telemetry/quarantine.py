"""Readings kept but not charted, as records of `vitals.quarantine` and `vitals.late`."""

from __future__ import annotations

import base64
from typing import Any

import orjson
from pydantic_core import from_json

from schemas.ports.kafka import Outgoing
from schemas.reasons import LATE, Reason
from schemas.topics import LATE_READINGS, QUARANTINE
from streams.telemetry.kernel.partition import Aside
from streams.telemetry.kernel.window_emitter import Withdrawal

LONGEST_COPIED_BYTES = 2 * 1024 * 1024
"""Base64 makes a third more of it, and the topics of what is set aside take records of 4 MiB."""
KEPT_OF_LONGER_BYTES = 64 * 1024


def aside_record(aside: Aside, topic: str, partition: int) -> Outgoing:
    """The record of a reading that was refused or came late, with its bytes as sent; of a huge one with the first of them."""
    longest = KEPT_OF_LONGER_BYTES if aside.reason == Reason.OVERSIZED else LONGEST_COPIED_BYTES
    whole_bytes = len(aside.text) if len(aside.text) > longest else None
    reading, raw = _as_sent(aside.text) if whole_bytes is None else (None, _base64(aside.text[:KEPT_OF_LONGER_BYTES]))
    value = {
        "kind": "reading",
        "reason": aside.reason,
        "tenant_id": aside.tenant_id,
        "device_id": aside.device_id,
        "source": _source(topic, partition, aside.offset, aside.place),
        "arrived": aside.arrived_ms,
        "reading": reading,
        "raw": raw,
        "whole_bytes": whole_bytes,
    }
    target = LATE_READINGS if aside.reason == LATE else QUARANTINE
    return Outgoing(target, (aside.device_id or "").encode(), orjson.dumps(value), partition)


def withdrawal_record(withdrawal: Withdrawal, topic: str, partition: int) -> Outgoing:
    """The record of a reading that left its open window, in canonical units; its source tells where the original is."""
    value = {
        "kind": "reading",
        "reason": withdrawal.reason,
        "tenant_id": withdrawal.tenant_id,
        "device_id": withdrawal.device_id,
        "source": _source(topic, partition, withdrawal.offset, withdrawal.place),
        "arrived": withdrawal.arrived_ms,
        "reading": withdrawal.reading,
        "raw": None,
    }
    return Outgoing(QUARANTINE, withdrawal.device_id.encode(), orjson.dumps(value), partition)


def _source(topic: str, partition: int, offset: int, place: int) -> dict[str, Any]:
    return {"topic": topic, "partition": partition, "offset": offset, "index": place}


def _as_sent(text: bytes) -> tuple[Any, str | None]:
    """The reading's own JSON, unchanged, where every reader of the topic can take it; else its bytes as base64.

    JSON knows numbers of any size and any depth, parsers do not: so two of them are asked, the second as deep as the
    reading will stand in its record.
    """
    try:
        orjson.loads(text)
        from_json(b"[" + text + b"]")
    except ValueError:
        return None, _base64(text)
    return orjson.Fragment(text), None


def _base64(text: bytes) -> str:
    return base64.b64encode(text).decode()
