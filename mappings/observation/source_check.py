"""Whether a rendered Observation says what was measured: this patient, this vital, this number, this unit, this time.

Templates are a site's own text. Whatever they say, a wrong number must not reach a chart, so every rendering is compared
with its windows. Another unit of the same kind is fine (a site may chart °F) if the number agrees once converted back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mappings.fhir_json import loinc_codes, member, objects
from mappings.observation.us_core import Finding
from mappings.observation.variables import statistic_of
from mappings.units import GLUCOSE_CODES, Conversion, conversion, convert_micro
from schemas.config import Config
from schemas.errors import Rejected
from schemas.fixed_point import to_micro
from schemas.instants import rfc3339
from schemas.vitals import PANEL_CODES, PANELS
from schemas.window import Window

_ROUNDED_MICRO = 50_000
"""A value converted to a site's unit may be rounded to one decimal: by at most 0.05 there."""


def check_against_source(
    resource: Mapping[str, Any], config: Config, windows: Sequence[Window], subject: str
) -> list[Finding]:
    """Every place where the resource says something else than its windows. Empty is good."""
    return [
        *_who_and_when(resource, windows[0], subject),
        *(
            _panel(resource, config, windows)
            if config.vital_type(windows[0].type).panel
            else _single(resource, config, windows[0])
        ),
    ]


def _who_and_when(resource: Mapping[str, Any], window: Window, subject: str) -> Iterator[Finding]:
    if member(resource.get("subject"), "reference") != subject:
        yield Finding("subject.reference", "is not the window's patient", 'write `reference: "{{ %subject }}"`')
    period = resource.get("effectivePeriod")
    times = (
        [period.get("start"), period.get("end")] if isinstance(period, dict) else [resource.get("effectiveDateTime")]
    )
    if any(time not in (rfc3339(window.start), rfc3339(window.end)) for time in times):
        yield Finding(
            "effective[x]", "is not the time of the window", 'use "{{ %window.start }}" and "{{ %window.end }}"'
        )


def _single(resource: Mapping[str, Any], config: Config, window: Window) -> Iterator[Finding]:
    codes = {code.code for code in config.vital_type(window.type).codes}
    yield from _codes(resource, "code", codes, window.type)
    yield from _quantity(resource, "valueQuantity", config, window)
    if "component" in resource:
        yield Finding("component", f"{window.type} was measured alone", "give components to a panel only")


def _panel(resource: Mapping[str, Any], config: Config, windows: Sequence[Window]) -> Iterator[Finding]:
    panel = config.vital_type(windows[0].type).panel or ""
    yield from _codes(resource, "code", {PANEL_CODES[panel].code}, panel)
    by_type = {window.type: window for window in windows}
    components = {code: part for part in objects(resource.get("component")) for code in loinc_codes(part)}
    for name in PANELS[panel]:
        code = config.vital_type(name).codes[0].code
        part = components.pop(code, None)
        if part is None:
            yield Finding(
                "component.code.coding.code", f"{name} is not coded {code}", 'write `coding: "{[ %part.codings ]}"`'
            )
        elif name in by_type:
            yield from _quantity(part, "component.valueQuantity", config, by_type[name])
        elif "valueQuantity" in part:
            yield Finding("component", f"{name} was not measured but has a value", "give it a dataAbsentReason")
    for code in components:
        yield Finding("component", f"LOINC {code} is no member of {panel}", "remove the component")


def _codes(holder: Mapping[str, Any], path: str, allowed: set[str], name: str) -> Iterator[Finding]:
    for code in loinc_codes(holder):
        if code not in allowed:
            yield Finding(
                path, f"LOINC {code} is not {name}; expected {' or '.join(sorted(allowed))}", "use %vital.codings"
            )


def _quantity(holder: Mapping[str, Any], path: str, config: Config, window: Window) -> Iterator[Finding]:
    quantity = holder.get("valueQuantity")
    if not isinstance(quantity, dict):
        yield Finding(path, "the measured value is missing", 'write `value: "{{ %window.value }}"`')
        return
    value, unit = quantity.get("value"), quantity.get("code")
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return  # already a finding of the US Core checks
    definition = config.vital_type(window.type)
    measured = statistic_of(window, config.vitals[window.type])
    if unit == definition.unit:
        is_same = value == measured
    else:
        glucose = any(code.code in GLUCOSE_CODES for code in definition.codes)
        try:
            how = conversion(str(unit), definition.unit, glucose=glucose)
        except Rejected:
            yield Finding(f"{path}.code", f"is no unit of {window.type}", 'write `code: "{{ %vital.unit }}"`')
            return
        is_same = _agrees(value, how, measured)
    if not is_same:
        yield Finding(
            f"{path}.value", "is not the measured value in this unit", "use %window.value with %vital.unit, unchanged"
        )


def _agrees(charted: float, how: Conversion, measured: float) -> bool:
    charted_micro = to_micro(charted)
    low, high = (convert_micro(charted_micro + by, how) for by in (-_ROUNDED_MICRO, _ROUNDED_MICRO))
    return low <= to_micro(measured) <= high
