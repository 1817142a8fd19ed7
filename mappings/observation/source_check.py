"""Checks that a rendered Observation reports what was measured: patient, vital, value, unit and time.

Templates are written by the site. Whatever they contain, a wrong number must not reach a chart, so every Observation is
compared with its windows. Another unit of the same kind is accepted (a site may chart °F) if the value agrees once
converted back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mappings.fhir_json import JsonObject, Resource, loinc_codes, member, objects
from mappings.findings import ElementFinding
from mappings.observation.result import charted_value
from mappings.units import Conversion, conversion, convert_micro, is_glucose
from schemas.config import Config
from schemas.errors import Rejected
from schemas.fixed_point import to_micro
from schemas.instants import rfc3339
from schemas.vitals import PANEL_CODES, PANELS, VitalType
from schemas.window import Window

_ROUNDED_MICRO = 50_000
"""A value converted to a site's unit may be rounded to one decimal, so it may be off by 0.05 of that unit."""


def check_against_source(
    resource: Resource, config: Config, windows: Sequence[Window], subject: str
) -> list[ElementFinding]:
    """Every element that disagrees with the windows. Empty is valid."""
    is_panel = config.vital_type(windows[0].type).panel is not None
    return [
        *_subject_and_time(resource, windows[0], subject),
        *(_panel(resource, config, windows) if is_panel else _single(resource, config, windows[0])),
    ]


def _subject_and_time(resource: Resource, window: Window, subject: str) -> Iterator[ElementFinding]:
    if member(resource.get("subject"), "reference") != subject:
        remedy = 'write `reference: "{{ %subject }}"`'
        yield ElementFinding("subject.reference", "is not the window's patient", remedy)
    period = resource.get("effectivePeriod")
    times = (
        [period.get("start"), period.get("end")] if isinstance(period, dict) else [resource.get("effectiveDateTime")]
    )
    if any(time not in (rfc3339(window.start), rfc3339(window.end)) for time in times):
        remedy = 'use "{{ %window.start }}" and "{{ %window.end }}"'
        yield ElementFinding("effective[x]", "is not the time of the window", remedy)


def _single(resource: Resource, config: Config, window: Window) -> Iterator[ElementFinding]:
    codes = {code.code for code in config.vital_type(window.type).codes}
    yield from _codes(resource, "code", codes, window.type)
    yield from _quantity(resource, "valueQuantity", config, window)
    if "component" in resource:
        message = f"{window.type} has no components, because it was measured alone"
        yield ElementFinding("component", message, "render components for a panel only")


def _panel(resource: Resource, config: Config, windows: Sequence[Window]) -> Iterator[ElementFinding]:
    panel = config.vital_type(windows[0].type).panel or ""
    yield from _codes(resource, "code", {PANEL_CODES[panel].code}, panel)
    by_type = {window.type: window for window in windows}
    components = {code: part for part in objects(resource.get("component")) for code in loinc_codes(part)}
    for name in PANELS[panel]:
        part = components.pop(config.vital_type(name).codes[0].code, None)
        yield from _component(part, name, config, by_type.get(name))
    for code in components:
        yield ElementFinding("component", f"LOINC {code} is not a member of {panel}", "remove the component")


def _component(part: JsonObject | None, name: str, config: Config, window: Window | None) -> Iterator[ElementFinding]:
    if part is None:
        message = f"{name} is not coded {config.vital_type(name).codes[0].code}"
        yield ElementFinding("component.code.coding.code", message, 'write `coding: "{[ %part.codings ]}"`')
    elif window is not None:
        yield from _quantity(part, "component.valueQuantity", config, window)
    elif "valueQuantity" in part:
        yield ElementFinding("component", f"{name} was not measured but has a value", "add a dataAbsentReason instead")


def _codes(holder: JsonObject, path: str, allowed: set[str], name: str) -> Iterator[ElementFinding]:
    for code in loinc_codes(holder):
        if code not in allowed:
            message = f"LOINC {code} is not {name}; expected {' or '.join(sorted(allowed))}"
            yield ElementFinding(path, message, "use %vital.codings")


def _quantity(holder: JsonObject, path: str, config: Config, window: Window) -> Iterator[ElementFinding]:
    quantity = holder.get("valueQuantity")
    if not isinstance(quantity, dict):
        yield ElementFinding(path, "the measured value is missing", 'write `value: "{{ %window.value }}"`')
        return
    value = quantity.get("value")
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return  # already a finding of the US Core checks
    definition = config.vital_type(window.type)
    measured = charted_value(window, config.vitals[window.type])
    try:
        is_same = _is_same(value, quantity.get("code"), measured, definition)
    except Rejected:
        remedy = 'write `code: "{{ %vital.unit }}"`'
        yield ElementFinding(f"{path}.code", f"is not a unit of {window.type}", remedy)
        return
    if not is_same:
        remedy = "use %window.value with %vital.unit, unchanged"
        yield ElementFinding(f"{path}.value", "is not the measured value in this unit", remedy)


def _is_same(value: float, unit: object, measured: float, definition: VitalType) -> bool:
    """Whether value and unit are the measured value. Rejected if the unit does not convert to the vital's."""
    if unit == definition.unit:
        return value == measured
    return _agrees(value, conversion(str(unit), definition.unit, glucose=is_glucose(definition)), measured)


def _agrees(charted: float, how: Conversion, measured: float) -> bool:
    charted_micro = to_micro(charted)
    low, high = (convert_micro(charted_micro + by, how) for by in (-_ROUNDED_MICRO, _ROUNDED_MICRO))
    return low <= to_micro(measured) <= high
