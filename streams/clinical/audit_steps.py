"""Audit steps of the clinical role: recorded intents, quarantined windows, and windows that could not be rendered."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.audit import Step
from schemas.operation import Intent
from schemas.ports.ledger import Recorded
from streams.clinical.intents import QuarantinedWindows, Unrendered


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
    return [
        Step(
            arrived.window.tenant_id,
            "window.quarantined",
            "refused",
            endpoint=quarantined.endpoint,
            source=arrived.window.window_id,
            reason=quarantined.reason,
        )
        for arrived in quarantined.group
    ]


def unrendered_steps(fault: Unrendered) -> list[Step]:
    """Windows that could not be rendered as a resource."""
    return [
        Step(
            arrived.window.tenant_id,
            "window.dead_lettered",
            "failure",
            endpoint=fault.endpoint,
            source=arrived.window.window_id,
            reason=fault.code,
        )
        for arrived in fault.group
    ]
