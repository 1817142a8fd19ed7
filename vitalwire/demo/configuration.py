"""The demo's configuration: the product's own defaults, with windows of seconds so that results appear within seconds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from schemas.vitals import BUILT_IN

WINDOW_S = 5
GRACE_S = 2
IDLE_S = 8
"""Longer than a window and its grace, so that a bed that merely paused has nothing late."""

OUTSIDE: dict[str, list[float]] = {
    "heart_rate": [50, 120],
    "respiratory_rate": [8, 30],
    "spo2": [90, 100],
    "systolic_bp": [90, 180],
    "diastolic_bp": [50, 110],
}
"""These are charted every ten seconds and when they cross a threshold. Of the others, which are rare, every window is."""


def text(tenants: Mapping[str, str], endpoints: Mapping[str, Mapping[str, Any]]) -> str:
    """The configuration file of the demo. `tenants`: tenant → its endpoint; `endpoints`: name → section."""
    document = {
        "tenants": {tenant: {"endpoints": [endpoint]} for tenant, endpoint in tenants.items()},
        "endpoints": {name: dict(section) for name, section in endpoints.items()},
        "vitals": {name: _vital(name) for name in BUILT_IN},
    }
    heading = "# Written by `vitalwire demo`. Its windows are far shorter than a hospital would want.\n"
    return heading + yaml.safe_dump(document, sort_keys=False)


def _vital(name: str) -> dict[str, Any]:
    pace: dict[str, Any] = {"window": f"{WINDOW_S}s", "grace": f"{GRACE_S}s", "idle": f"{IDLE_S}s"}
    if name in OUTSIDE:
        pace["publish"] = {"every": f"{2 * WINDOW_S}s", "outside": OUTSIDE[name]}
    return pace
