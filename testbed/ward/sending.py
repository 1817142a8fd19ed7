"""One message as a device sends it, with the expected outcome of each of its measurements."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from schemas.reasons import Reason
from schemas.topics import READINGS, TopicSpec

Outcome = Reason | Literal["window", "duplicate", "late"]
"""The expected outcome of one measurement: counted in a window, dropped as a duplicate, late, or quarantined."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A measurement that belongs in a window: its patient, and its value in the canonical unit."""

    patient_id: str
    type: str
    time_ms: int
    value_micro: int


@dataclass(frozen=True, slots=True)
class Sent:
    """One Kafka record of the ward. `outcomes`: one entry per measurement; `truth`: one per measurement in a window."""

    at: datetime
    key: str
    value: bytes
    bed: str
    outcomes: tuple[Outcome, ...] = ()
    truth: tuple[Measured, ...] = ()
    anomaly: str | None = None
    topic: TopicSpec = READINGS


def number(value: str) -> int | float:
    """A recorded value as JSON number: 73 rather than 73.0."""
    exact = float(value)
    return int(exact) if exact.is_integer() else exact


def encode(payload: dict[str, Any]) -> bytes:
    """The payload as a device would put it on the wire."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def measurement(kind: str, value: object, unit: str, time: object) -> dict[str, Any]:
    """The four fields of one measurement."""
    return {"type": kind, "value": value, "unit": unit, "time": time}


def reading(tenant_id: str, device_id: str, fields: dict[str, Any]) -> dict[str, Any]:
    """A single reading."""
    return {"tenant_id": tenant_id, "device_id": device_id, **fields}


def frame(tenant_id: str, device_id: str, patient_id: str, readings: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Many measurements in one message; a bedside monitor knows its patient and says so."""
    return {"tenant_id": tenant_id, "device_id": device_id, "patient_id": patient_id, "readings": list(readings)}
