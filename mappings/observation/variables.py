"""The variables that a template reads: one window (or the two of a blood pressure) as plain JSON values."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta

from mappings.fhir_json import JsonObject, JsonValue
from mappings.observation.result import charted_value
from schemas.capabilities import ObservationCapabilities
from schemas.config import Config, Vital
from schemas.errors import Rejected
from schemas.instants import rfc3339
from schemas.reasons import Reason
from schemas.vitals import LOINC, PANEL_CODES, PANELS, Code
from schemas.window import Window

VARIABLES = frozenset({"vital", "site", "window", "components", "subject", "status", "summary"})
"""Every variable that a template may read."""

_FHIR_ID = re.compile(r"^[A-Za-z0-9\-._]{1,255}$")
_STATISTIC_WORDS = {
    "mean": "mean",
    "median": "median",
    "min": "lowest",
    "max": "highest",
    "first": "first",
    "last": "last",
}


def site_variables(capabilities: ObservationCapabilities) -> dict[str, JsonValue]:
    """%site: the endpoint's capabilities for Observations, by their names."""
    return capabilities.model_dump()


def vital_variables(config: Config, name: str, capabilities: ObservationCapabilities) -> dict[str, JsonValue]:
    """%vital: a vital, or a panel of two."""
    is_panel = name in PANELS
    vital = config.vital_type(PANELS[name][0] if is_panel else name)
    return {
        "name": name,
        "panel": is_panel,
        "codings": _codings([PANEL_CODES[name]] if is_panel else vital.codes, capabilities),
        "unit": vital.unit,
        "unit_text": vital.unit_text,
    }


def window_variables(
    config: Config, windows: Sequence[Window], subject_id: str, status: str, capabilities: ObservationCapabilities
) -> dict[str, JsonValue]:
    """What changes from window to window: %window, %components, %subject, %status, %summary."""
    if not _FHIR_ID.match(subject_id):
        raise Rejected(Reason.UNKNOWN_PATIENT, "the subject id at this endpoint is not a FHIR id")
    lead = windows[0]
    revision = max(window.revision for window in windows)
    return {
        "window": _window(lead, config.vitals[lead.type], revision),
        "components": _components(config, windows, capabilities),
        "subject": subject_reference(subject_id),
        "status": status,
        "summary": summary(config, windows)[: capabilities.note_max_chars],
    }


def subject_reference(subject_id: str) -> str:
    """The FHIR reference of the patient with this id at the endpoint."""
    return f"Patient/{subject_id}"


def summary(config: Config, windows: Sequence[Window]) -> str:
    """How the value was computed, for the clinician: 'Median of 58 readings, 60 s window, device clock'."""
    lead = windows[0]
    parts = " and ".join(_statistic(config, window, named=len(windows) > 1) for window in windows)
    revised = ", revised with late readings" if any(window.revision for window in windows) else ""
    return f"{parts[0].upper()}{parts[1:]}, {_length(lead.end - lead.start)} window, device clock{revised}"


def _statistic(config: Config, window: Window, *, named: bool) -> str:
    statistic = _STATISTIC_WORDS[config.vitals[window.type].statistic]
    name = f"{window.type.removesuffix('_bp')} " if named else ""
    return f"{statistic} of {window.count} {name}{'reading' if window.count == 1 else 'readings'}"


def _length(span: timedelta) -> str:
    seconds = span.total_seconds()
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds > size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def _window(window: Window, vital: Vital, revision: int) -> JsonObject:
    return {
        "id": window.window_id,
        "type": window.type,
        "start": rfc3339(window.start),
        "end": rfc3339(window.end),
        "value": charted_value(window, vital),
        "statistic": vital.statistic,
        "count": window.count,
        "revision": revision,
        "device_id": window.device_id,
    }


def _components(
    config: Config, windows: Sequence[Window], capabilities: ObservationCapabilities
) -> Sequence[JsonObject]:
    panel = config.vital_type(windows[0].type).panel
    if panel is None:
        return []
    by_type = {window.type: window for window in windows}
    return [_component(config, member, by_type.get(member), capabilities) for member in PANELS[panel]]


def _component(config: Config, member: str, window: Window | None, capabilities: ObservationCapabilities) -> JsonObject:
    definition = config.vital_type(member)
    return {
        "name": member,
        "codings": _codings(definition.codes, capabilities),
        "unit": definition.unit,
        "unit_text": definition.unit_text,
        "measured": window is not None,
        "value": None if window is None else charted_value(window, config.vitals[member]),
    }


def _codings(codes: Sequence[Code], capabilities: ObservationCapabilities) -> Sequence[JsonObject]:
    sent = codes[:1] if capabilities.codings == "one" else codes
    return [{"system": LOINC, "code": code.code, "display": code.display} for code in sent]
