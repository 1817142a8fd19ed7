"""Heartbeats of workers: the published contract of `ops.heartbeats`."""

from __future__ import annotations

from typing import Any

from pydantic import AwareDatetime, BaseModel


class Heartbeat(BaseModel):
    """A worker is alive (`ops.heartbeats`)."""

    role: str
    instance: str
    at: AwareDatetime
    version: str
    ready: bool
    detail: dict[str, Any] = {}
