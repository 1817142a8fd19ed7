"""Alerts: the published contract of `alerts.events`."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, BaseModel


class AlertEvent(BaseModel):
    """An alert and its state changes (`alerts.events`). Vitalwire is not a primary alarm system."""

    alert_id: str
    tenant_id: str
    patient_id: str
    device_id: str
    type: str
    event: Literal["raised", "escalated", "acknowledged", "cleared"]
    at: AwareDatetime
    value: float | None = None
    unit: str | None = None
