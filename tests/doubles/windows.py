"""Closed windows for tests, as records of `vitals.windows`."""

import hashlib
from datetime import UTC, datetime, timedelta

from schemas.window import Window, WindowSource
from streams.runtime.batches import Batch, Record

START = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
CLOSED_MS = int(START.timestamp() * 1000) + 71_000
UNITS = {"heart_rate": "/min", "systolic_bp": "mm[Hg]", "diastolic_bp": "mm[Hg]"}


def window(vital: str = "heart_rate", value: float = 72, *, patient: str = "p-9", minute: int = 0, **more: object):
    start = START + timedelta(minutes=minute)
    identity = f"{vital}|{patient}|{more.get('device_id', 'mon-17')}|{start}"
    return Window.model_validate(
        {
            "window_id": hashlib.sha256(identity.encode()).hexdigest(),
            "content_hash": hashlib.sha256(f"{identity}|{value}".encode()).hexdigest(),
            "tenant_id": "north",
            "patient_id": patient,
            "device_id": "mon-17",
            "type": vital,
            "unit": UNITS[vital],
            "start": start,
            "end": start + timedelta(minutes=1),
            "count": 60,
            **dict.fromkeys(("mean", "median", "min", "max", "first", "last"), value),
            "publish": True,
            "cause": "schedule",
            "source": WindowSource(topic="telemetry.readings", partition=0, first_offset=0, last_offset=59),
        }
        | more
    )


def pressure(systolic: float = 120, diastolic: float = 80, **more: object) -> tuple[Window, Window]:
    return (
        window("systolic_bp", systolic, companions=["diastolic_bp"], **more),
        window("diastolic_bp", diastolic, companions=["systolic_bp"], **more),
    )


def record(value: Window | bytes, offset: int, *, at_ms: int = CLOSED_MS) -> Record:
    raw = value if isinstance(value, bytes) else value.model_dump_json().encode()
    return Record(offset, at_ms, b"north|p-9", raw, ())


def batch(*values: Window | bytes, first: int = 0, partition: int = 0, at_ms: int = CLOSED_MS) -> Batch:
    return Batch("vitals.windows", partition, [record(v, first + n, at_ms=at_ms) for n, v in enumerate(values)])
