"""Our US Core checks: whether an Observation is a vital sign as US Core 9.0.0 asks and as the endpoint takes it.

The rules are data (`rules/us_core.yaml`). Findings name the place and the remedy, never a value.
Source: US Core 9.0.0 vital-sign profiles; FHIR R4 vitalsigns (vs-1 to vs-3); HL7 CGM 1.0.0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, NamedTuple

import yaml

from mappings.fhir_json import loinc_codes, member, objects
from mappings.units import KNOWN_UNITS
from schemas.capabilities import ObservationCapabilities


class Finding(NamedTuple):
    """Something wrong in a resource: where, what, and what to do."""

    path: str
    message: str
    remedy: str


@dataclass(frozen=True)
class Profile:
    """One vital's rules: the LOINC codes that must stand in `code`, the UCUM units, the components."""

    name: str
    codes: tuple[str, ...]
    units: tuple[str, ...]
    required: Mapping[str, tuple[str, ...]]
    optional: Mapping[str, tuple[str, ...]]


def _profile(row: Mapping[str, Any]) -> Profile:
    required, optional = (
        {code: tuple(units) for code, units in row.get(key, {}).items()} for key in ("required", "optional")
    )
    return Profile(row["name"], tuple(row["codes"]), tuple(row.get("units", ())), required, optional)


RULES: dict[str, Any] = yaml.safe_load(files("mappings").joinpath("rules/us_core.yaml").read_text(encoding="utf-8"))
PROFILES: tuple[Profile, ...] = tuple(_profile(row) for row in RULES["profiles"])
_BY_CODE = {code: profile for profile in PROFILES for code in profile.codes}
_UCUM: str = RULES["ucum"]
_CATEGORY: str = RULES["category_code"]
_STATUSES = frozenset(RULES["statuses"])
_DATE_TIME = re.compile(r"^\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d))?$")
_SUBJECT = re.compile(r"^(https?://.+/)?Patient/[A-Za-z0-9\-._]+$")


def validate(resource: Mapping[str, Any], capabilities: ObservationCapabilities | None = None) -> list[Finding]:
    """Every finding against US Core, and with capabilities also against what the endpoint takes. Empty is good."""
    if resource.get("resourceType") != "Observation":
        return [Finding("resourceType", "is not Observation", "set `resourceType: Observation`")]
    return [
        *_status(resource),
        *_category(resource, capabilities),
        *_subject(resource),
        *_effective(resource, capabilities),
        *_code_and_values(resource, capabilities),
        *(_endpoint(resource, capabilities) if capabilities else ()),
    ]


def _status(resource: Mapping[str, Any]) -> Iterator[Finding]:
    if str(resource.get("status")) not in _STATUSES:
        yield Finding("status", "is missing or is no Observation status", 'write `status: "{{ %status }}"`')


def _category(resource: Mapping[str, Any], capabilities: ObservationCapabilities | None) -> Iterator[Finding]:
    system = capabilities.category_system if capabilities else RULES["category_system"]
    found = [
        coding
        for category in objects(resource.get("category"))
        for coding in objects(category.get("coding"))
        if coding.get("code") == _CATEGORY and coding.get("system") == system
    ]
    if len(found) != 1:
        yield Finding("category", "must be vital-signs, once", f"add a coding with system {system}, code {_CATEGORY}")


def _subject(resource: Mapping[str, Any]) -> Iterator[Finding]:
    if not _SUBJECT.match(str(member(resource.get("subject"), "reference"))):
        yield Finding("subject.reference", "must refer to a Patient", 'write `subject: {reference: "{{ %subject }}"}`')


def _effective(resource: Mapping[str, Any], capabilities: ObservationCapabilities | None) -> Iterator[Finding]:
    moment, period = resource.get("effectiveDateTime"), resource.get("effectivePeriod")
    if (moment is None) == (period is None):
        yield Finding(
            "effective[x]",
            "exactly one of effectiveDateTime and effectivePeriod must be there",
            'write `effectiveDateTime: "{{ %window.end }}"`',
        )
        return
    times = {"effectiveDateTime": moment}
    if moment is None:
        times = _period_times(period)
    for path, text in times.items():
        if not isinstance(text, str) or not _DATE_TIME.match(text):
            yield Finding(
                path, "is no FHIR date, or a time without offset", 'use "{{ %window.start }}" and "{{ %window.end }}"'
            )
    if capabilities and capabilities.effective == "dateTime" and moment is None:
        yield Finding(
            "effectivePeriod", "this endpoint takes no Period", 'write `effectiveDateTime: "{{ %window.end }}"`'
        )


def _period_times(period: Any) -> dict[str, Any]:
    if not isinstance(period, dict):
        return {"effectivePeriod": None}
    return {f"effectivePeriod.{end}": period.get(end) for end in ("start", "end")}


def _code_and_values(resource: Mapping[str, Any], capabilities: ObservationCapabilities | None) -> Iterator[Finding]:
    codings, codes = objects(member(resource.get("code"), "coding")), loinc_codes(resource)
    if not codes:
        yield Finding("code", "has no LOINC coding", 'write `code: {coding: "{[ %vital.codings ]}"}`')
        return
    one_coding = capabilities is not None and capabilities.codings == "one"
    if one_coding and len(codings) != 1:
        yield Finding("code.coding", "this endpoint takes exactly one coding", 'write `coding: "{[ %vital.codings ]}"`')
    profile = next((_BY_CODE[code] for code in codes if code in _BY_CODE), None)
    if profile is None:
        yield from _value(resource, "", None)
        return
    if missing := [code for code in profile.codes if code not in codes and not one_coding]:
        yield Finding("code.coding", f"{profile.name} needs LOINC {' and '.join(missing)} too", "add the coding")
    if profile.required:
        yield from _panel(resource, profile)
    else:
        yield from _value(resource, "", profile.units)
        yield from _components(resource, profile.optional)


def _panel(resource: Mapping[str, Any], profile: Profile) -> Iterator[Finding]:
    if any(key.startswith("value") for key in resource):
        yield Finding("value[x]", f"{profile.name} carries its values in components only", "remove the value")
    present = [code for component in objects(resource.get("component")) for code in loinc_codes(component)]
    for code in profile.required:
        if present.count(code) != 1:
            yield Finding(
                "component",
                f"{profile.name} needs one component LOINC {code}",
                "add it; a missing one says dataAbsentReason",
            )
    yield from _components(resource, profile.required)


def _components(resource: Mapping[str, Any], units: Mapping[str, tuple[str, ...]]) -> Iterator[Finding]:
    for number, component in enumerate(objects(resource.get("component"))):
        known = next((units[code] for code in loinc_codes(component) if code in units), None)
        yield from _value(component, f"component.{number}.", known)


def _value(holder: Mapping[str, Any], prefix: str, units: tuple[str, ...] | None) -> Iterator[Finding]:
    """A quantity in UCUM, or the reason why there is none (vs-2, vs-3). `units` None: any known UCUM unit."""
    quantity = holder.get("valueQuantity")
    path = f"{prefix}valueQuantity"
    if quantity is None:
        if not any(key in holder for key in ("dataAbsentReason", "hasMember", "valueString", "valueCodeableConcept")):
            yield Finding(path, "neither a value nor a dataAbsentReason", "add valueQuantity, or say why there is none")
        return
    if not isinstance(quantity, dict) or not _is_number(quantity.get("value")):
        yield Finding(f"{path}.value", "is not a number", 'write `value: "{{ %window.value }}"` and nothing around it')
        return
    if not quantity.get("unit"):
        yield Finding(f"{path}.unit", "is missing: a person must read it", 'write `unit: "{{ %vital.unit_text }}"`')
    if quantity.get("system") != _UCUM:
        yield Finding(f"{path}.system", "is not UCUM", f"write `system: {_UCUM}`")
    if str(quantity.get("code")) not in (KNOWN_UNITS if units is None else units):
        allowed = ", ".join(units) if units else "a UCUM code"
        yield Finding(f"{path}.code", f"is not the UCUM unit expected: {allowed}", 'write `code: "{{ %vital.unit }}"`')


def _endpoint(resource: Mapping[str, Any], capabilities: ObservationCapabilities) -> Iterator[Finding]:
    if capabilities.performer and not objects(resource.get("performer")):
        yield Finding("performer", "this endpoint needs a performer", 'add a reference: "{{ %site.performer }}"')
    if any(len(str(note.get("text", ""))) > capabilities.note_max_chars for note in objects(resource.get("note"))):
        yield Finding("note", f"is longer than {capabilities.note_max_chars} characters", "use %summary")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
