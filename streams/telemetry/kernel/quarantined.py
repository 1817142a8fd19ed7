"""Quarantined and late readings, as the kernel returns them."""

from __future__ import annotations

from typing import Any, NamedTuple

from schemas.reasons import Reason


class QuarantinedReading(NamedTuple):
    """A reading that no window counts, with its bytes as sent. A late reading is one whose reason is `late`."""

    reason: Reason | str
    tenant_id: str | None
    device_id: str | None
    offset: int
    frame_index: int
    arrived_ms: int
    text: bytes


class QuarantinedRow(NamedTuple):
    """A reading that leaves its open window for the quarantine, in canonical units: its bytes are no longer in memory."""

    reason: Reason
    tenant_id: str
    device_id: str
    offset: int
    frame_index: int
    arrived_ms: int
    reading: dict[str, Any]
