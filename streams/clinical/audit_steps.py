"""Audit steps of the clinical role: recorded intents, quarantined windows, and windows that could not be rendered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from schemas.audit import Step
from schemas.operation import Intent
from schemas.ports.ledger import Recorded
from streams.clinical.intents import QuarantinedWindows, Unrendered
from streams.clinical.panels import Arrived


def recorded_steps(intents: Sequence[Intent], recorded: Sequence[Recorded]) -> list[Step]:
    """Operations that are new in the ledger, one step for each of their windows."""
    return [
        Step(intent.tenant_id, "operation.recorded", "success", entry.operation_id, intent.endpoint, window_id)
        for intent, entry in zip(intents, recorded, strict=True)
        if not entry.duplicate
        for window_id in intent.source.part_ids
    ]


def quarantined_steps(quarantined: QuarantinedWindows) -> list[Step]:
    """Windows that are quarantined for one endpoint or for all."""
    group, endpoint, reason = quarantined.group, quarantined.endpoint, quarantined.reason
    return [_window_step(one, "window.quarantined", "refused", endpoint, reason) for one in group]


def unrendered_steps(fault: Unrendered) -> list[Step]:
    """Windows that could not be rendered as a resource."""
    return [_window_step(one, "window.dead_lettered", "failure", fault.endpoint, fault.code) for one in fault.group]


def _window_step(
    arrived: Arrived, action: str, outcome: Literal["refused", "failure"], endpoint: str | None, reason: str
) -> Step:
    window = arrived.window
    return Step(window.tenant_id, action, outcome, endpoint=endpoint, source=window.window_id, reason=reason)
