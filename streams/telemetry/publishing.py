"""Which windows are published to the chart: on a schedule, on crossing a limit, on a change. Pure and in log order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from schemas.config import Publish

Cause = Literal["schedule", "threshold", "change"]


@dataclass(frozen=True, slots=True)
class Published:
    """The publishing state of a series: its patient, the last published slot and value, and whether it was outside."""

    patient_id: str
    slot: int | None = None
    value: float | None = None
    outside: bool | None = None


def decide(policy: Publish, before: Published | None, patient_id: str, start_ms: int, value: float) -> Cause | None:
    """Why this window is published, or None.

    A new patient on the device has no state, so the first window is published. Without a policy every window is published on
    schedule.
    """
    if before is not None and before.patient_id != patient_id:
        before = None
    if policy.outside is not None and is_outside(policy, value) != bool(before and before.outside):
        return "threshold"
    last = before.value if before else None
    if policy.change is not None and (last is None or abs(value - last) >= policy.change):
        return "change"
    if policy.every is None:
        return None if policy.outside is not None or policy.change is not None else "schedule"
    slot = start_ms // policy.every
    return "schedule" if before is None or before.slot is None or slot > before.slot else None


def remember(
    policy: Publish, before: Published | None, patient_id: str, start_ms: int, value: float, published: bool
) -> Published:
    """The publishing state after this window."""
    if before is not None and before.patient_id != patient_id:
        before = None
    slot, last = (before.slot, before.value) if before else (None, None)
    if published:
        slot, last = (start_ms // policy.every if policy.every else None), value
    return Published(patient_id, slot, last, is_outside(policy, value) if policy.outside else None)


def is_outside(policy: Publish, value: float) -> bool:
    """Whether the statistic is beyond the configured limits."""
    return policy.outside is not None and not policy.outside[0] <= value <= policy.outside[1]
