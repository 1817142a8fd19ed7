"""What a template may speak of: one window (or the two of a blood pressure) as plain variables.

The charted value is the vital's configured statistic, unrounded: exact to a millionth of the canonical unit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from schemas.capabilities import ObservationCapabilities
from schemas.config import Config, Vital
from schemas.errors import Rejected
from schemas.fixed_point import to_json_number, to_micro
from schemas.instants import rfc3339
from schemas.reasons import Reason
from schemas.vitals import LOINC, PANEL_CODES, PANELS, Code
from schemas.window import Window

VARIABLES = frozenset({"vital", "site", "window", "components", "subject", "status", "summary"})
"""Every variable a template may read."""

_FHIR_ID = re.compile(r"^[A-Za-z0-9\-._]{1,255}$")
_STATISTIC_WORDS = {
    "mean": "mean",
    "median": "median",
    "min": "lowest",
    "max": "highest",
    "first": "first",
    "last": "last",
}


def site_variables(capabilities: ObservationCapabilities) -> dict[str, Any]:
    """%site: the endpoint's capabilities for Observations, by their names."""
    return capabilities.model_dump()


def vital_variables(config: Config, name: str, capabilities: ObservationCapabilities) -> dict[str, Any]:
    """%vital: of a vital, or of a panel of two."""
    if name in PANELS:
        first = config.vital_type(PANELS[name][0])
        codes, panel = [PANEL_CODES[name]], True
    else:
        first, panel = config.vital_type(name), False
        codes = first.codes
    return {
        "name": name,
        "panel": panel,
        "codings": _codings(codes, capabilities),
        "unit": first.unit,
        "unit_text": first.unit_text,
    }


def window_variables(
    config: Config, windows: Sequence[Window], subject_id: str, status: str, capabilities: ObservationCapabilities
) -> dict[str, Any]:
    """Everything that changes from window to window: %window, %components, %subject, %status, %summary."""
    if not _FHIR_ID.match(subject_id):
        raise Rejected(Reason.UNKNOWN_PATIENT, "the subject id at this endpoint is not a FHIR id")
    lead = windows[0]
    vital = config.vitals[lead.type]
    return {
        "window": _window(lead, vital, revision=max(window.revision for window in windows)),
        "components": _components(config, windows, capabilities),
        "subject": f"Patient/{subject_id}",
        "status": status,
        "summary": summary(config, windows)[: capabilities.note_max_chars],
    }


def ordered(config: Config, windows: Sequence[Window]) -> list[Window]:
    """The windows of one result: one, or the members of a panel, systolic first. Rejected when they do not belong together."""
    for window in windows:
        if window.type not in config.vitals:
            raise Rejected(Reason.UNKNOWN_TYPE)
        if window.unit != config.vital_type(window.type).unit:
            raise Rejected(Reason.UNIT_MISMATCH, "the window is not in the vital's canonical unit")
    if len({(w.tenant_id, w.patient_id, w.device_id, w.start, w.end) for w in windows}) != 1:
        raise Rejected(Reason.MALFORMED, "windows of one result share tenant, patient, device, start and end")
    members = PANELS.get(config.vital_type(windows[0].type).panel or "", (windows[0].type,))
    by_type = {window.type: window for window in windows}
    if len(by_type) != len(windows) or not by_type.keys() <= set(members):
        raise Rejected(Reason.MALFORMED, "windows of one result are of one vital, or one each of a panel's members")
    return [by_type[member] for member in members if member in by_type]


def result_name(config: Config, window: Window) -> str:
    """The vital's name, or its panel's: what consent and the chart call the result."""
    return config.vital_type(window.type).panel or window.type


def summary(config: Config, windows: Sequence[Window]) -> str:
    """How the value was made, for the clinician: 'Median of 58 readings, 60 s window, device clock'."""
    lead = windows[0]
    made = " and ".join(_made(config, window, named=len(windows) > 1) for window in windows)
    revised = ", revised with late readings" if any(window.revision for window in windows) else ""
    return f"{made[0].upper()}{made[1:]}, {_span(lead.end - lead.start)} window, device clock{revised}"


def statistic_of(window: Window, vital: Vital) -> int | float:
    """The configured statistic of the window, as charted."""
    value: float = getattr(window, vital.statistic)
    return to_json_number(to_micro(value))


def _window(window: Window, vital: Vital, revision: int) -> dict[str, Any]:
    return {
        "id": window.window_id,
        "type": window.type,
        "start": rfc3339(window.start),
        "end": rfc3339(window.end),
        "value": statistic_of(window, vital),
        "statistic": vital.statistic,
        "count": window.count,
        "revision": revision,
        "device_id": window.device_id,
    }


def _components(
    config: Config, windows: Sequence[Window], capabilities: ObservationCapabilities
) -> list[dict[str, Any]]:
    panel = config.vital_type(windows[0].type).panel
    if panel is None:
        return []
    by_type = {window.type: window for window in windows}
    return [_component(config, member, by_type.get(member), capabilities) for member in PANELS[panel]]


def _component(
    config: Config, member: str, window: Window | None, capabilities: ObservationCapabilities
) -> dict[str, Any]:
    definition = config.vital_type(member)
    return {
        "name": member,
        "codings": _codings(definition.codes, capabilities),
        "unit": definition.unit,
        "unit_text": definition.unit_text,
        "measured": window is not None,
        "value": None if window is None else statistic_of(window, config.vitals[member]),
    }


def _codings(codes: Sequence[Code], capabilities: ObservationCapabilities) -> list[dict[str, str]]:
    taken = codes[:1] if capabilities.codings == "one" else codes
    return [{"system": LOINC, "code": code.code, "display": code.display} for code in taken]


def _made(config: Config, window: Window, *, named: bool) -> str:
    statistic = _STATISTIC_WORDS[config.vitals[window.type].statistic]
    name = f"{window.type.removesuffix('_bp')} " if named else ""
    return f"{statistic} of {window.count} {name}{'reading' if window.count == 1 else 'readings'}"


def _span(length: timedelta) -> str:
    seconds = length.total_seconds()
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds > size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
