"""Checks that an Observation is a vital sign as US Core 9.0.0 and the endpoint require.

The rules are data (`us_core.yaml`). Findings name the element and the remedy, never a value.
Source: US Core 9.0.0 vital-sign profiles; FHIR R4 vitalsigns (vs-1 to vs-3); HL7 CGM 1.0.0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping

from mappings.fhir_json import JsonObject, JsonValue, Resource, codings, loinc_codes, member, objects
from mappings.findings import ElementFinding
from mappings.observation.profiles import PROFILE_BY_CODE, RULES, Profile
from mappings.units import KNOWN_UNITS
from schemas.capabilities import ObservationCapabilities

_DATE_TIME = re.compile(r"^\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d))?$")
_SUBJECT = re.compile(r"^(https?://.+/)?Patient/[A-Za-z0-9\-._]+$")
_INSTEAD_OF_QUANTITY = ("dataAbsentReason", "hasMember", "valueString", "valueCodeableConcept")


def validate(resource: Resource, capabilities: ObservationCapabilities | None = None) -> list[ElementFinding]:
    """Every finding against US Core and, if capabilities are given, against what the endpoint accepts. Empty is valid."""
    if resource.get("resourceType") != "Observation":
        return [ElementFinding("resourceType", "is not Observation", "set `resourceType: Observation`")]
    return [
        *_status(resource),
        *_category(resource, capabilities),
        *_subject(resource),
        *_effective(resource, capabilities),
        *_code_and_values(resource, capabilities),
        *(_endpoint(resource, capabilities) if capabilities else ()),
    ]


def _status(resource: Resource) -> Iterator[ElementFinding]:
    if str(resource.get("status")) not in RULES.statuses:
        yield ElementFinding("status", "is missing or not an Observation status", 'write `status: "{{ %status }}"`')


def _category(resource: Resource, capabilities: ObservationCapabilities | None) -> Iterator[ElementFinding]:
    system = capabilities.category_system if capabilities else RULES.category_system
    found = [
        coding
        for category in objects(resource.get("category"))
        for coding in codings(category)
        if coding.get("code") == RULES.category_code and coding.get("system") == system
    ]
    if len(found) != 1:
        remedy = f"add a coding with system {system}, code {RULES.category_code}"
        yield ElementFinding("category", "must be vital-signs, exactly once", remedy)


def _subject(resource: Resource) -> Iterator[ElementFinding]:
    if not _SUBJECT.match(str(member(resource.get("subject"), "reference"))):
        remedy = 'write `subject: {reference: "{{ %subject }}"}`'
        yield ElementFinding("subject.reference", "must refer to a Patient", remedy)


def _effective(resource: Resource, capabilities: ObservationCapabilities | None) -> Iterator[ElementFinding]:
    moment, period = resource.get("effectiveDateTime"), resource.get("effectivePeriod")
    write_end = 'write `effectiveDateTime: "{{ %window.end }}"`'
    if (moment is None) == (period is None):
        message = "exactly one of effectiveDateTime and effectivePeriod is required"
        yield ElementFinding("effective[x]", message, write_end)
        return
    times = {"effectiveDateTime": moment} if period is None else _period_times(period)
    for path, text in times.items():
        if not isinstance(text, str) or not _DATE_TIME.match(text):
            remedy = 'use "{{ %window.start }}" and "{{ %window.end }}"'
            yield ElementFinding(path, "is not a FHIR date, or is a time without an offset", remedy)
    if capabilities and capabilities.effective == "dateTime" and moment is None:
        yield ElementFinding("effectivePeriod", "this endpoint does not accept a Period", write_end)


def _period_times(period: JsonValue) -> dict[str, JsonValue]:
    if not isinstance(period, dict):
        return {"effectivePeriod": None}
    return {f"effectivePeriod.{end}": period.get(end) for end in ("start", "end")}


def _code_and_values(resource: Resource, capabilities: ObservationCapabilities | None) -> Iterator[ElementFinding]:
    codes = loinc_codes(resource)
    write_codings = 'write `coding: "{[ %vital.codings ]}"`'
    if not codes:
        yield ElementFinding("code", "has no LOINC coding", 'write `code: {coding: "{[ %vital.codings ]}"}`')
        return
    one_coding = capabilities is not None and capabilities.codings == "one"
    if one_coding and len(codings(resource.get("code"))) != 1:
        yield ElementFinding("code.coding", "this endpoint accepts exactly one coding", write_codings)
    profile = next((PROFILE_BY_CODE[code] for code in codes if code in PROFILE_BY_CODE), None)
    if profile is None:
        yield from _value(resource, "", None)
        return
    if missing := [code for code in profile.codes if code not in codes and not one_coding]:
        message = f"{profile.name} also requires LOINC {' and '.join(missing)}"
        yield ElementFinding("code.coding", message, "add the coding")
    yield from _profile_values(resource, profile)


def _profile_values(resource: Resource, profile: Profile) -> Iterator[ElementFinding]:
    if profile.required:
        yield from _panel(resource, profile)
    else:
        yield from _value(resource, "", profile.units)
        yield from _components(resource, profile.optional)


def _panel(resource: Resource, profile: Profile) -> Iterator[ElementFinding]:
    if any(key.startswith("value") for key in resource):
        message = f"{profile.name} has values in its components only"
        yield ElementFinding("value[x]", message, "remove the value")
    present = [code for component in objects(resource.get("component")) for code in loinc_codes(component)]
    for code in profile.required:
        if present.count(code) != 1:
            message = f"{profile.name} requires exactly one component with LOINC {code}"
            yield ElementFinding("component", message, "add it, with a dataAbsentReason if it was not measured")
    yield from _components(resource, profile.required)


def _components(resource: Resource, units: Mapping[str, tuple[str, ...]]) -> Iterator[ElementFinding]:
    for number, component in enumerate(objects(resource.get("component"))):
        known = next((units[code] for code in loinc_codes(component) if code in units), None)
        yield from _value(component, f"component.{number}.", known)


def _value(holder: JsonObject, prefix: str, units: tuple[str, ...] | None) -> Iterator[ElementFinding]:
    """A quantity in UCUM, or the reason why there is none (vs-2, vs-3). `units` None: any known UCUM unit."""
    quantity = holder.get("valueQuantity")
    path = f"{prefix}valueQuantity"
    if quantity is None:
        if not any(key in holder for key in _INSTEAD_OF_QUANTITY):
            remedy = "add valueQuantity, or a dataAbsentReason"
            yield ElementFinding(path, "there is neither a value nor a dataAbsentReason", remedy)
    elif not isinstance(quantity, dict) or not _is_number(quantity.get("value")):
        remedy = 'write `value: "{{ %window.value }}"` and nothing around it'
        yield ElementFinding(f"{path}.value", "is not a number", remedy)
    else:
        yield from _unit(quantity, path, units)


def _unit(quantity: JsonObject, path: str, units: tuple[str, ...] | None) -> Iterator[ElementFinding]:
    if not quantity.get("unit"):
        remedy = 'write `unit: "{{ %vital.unit_text }}"`'
        yield ElementFinding(f"{path}.unit", "is missing; clinicians read the value with it", remedy)
    if quantity.get("system") != RULES.ucum:
        yield ElementFinding(f"{path}.system", "is not UCUM", f"write `system: {RULES.ucum}`")
    if str(quantity.get("code")) not in (KNOWN_UNITS if units is None else units):
        message = f"is not the expected UCUM unit: {', '.join(units) if units else 'a UCUM code'}"
        yield ElementFinding(f"{path}.code", message, 'write `code: "{{ %vital.unit }}"`')


def _endpoint(resource: Resource, capabilities: ObservationCapabilities) -> Iterator[ElementFinding]:
    if capabilities.performer and not objects(resource.get("performer")):
        remedy = 'add a reference: "{{ %site.performer }}"'
        yield ElementFinding("performer", "this endpoint requires a performer", remedy)
    if any(len(str(note.get("text", ""))) > capabilities.note_max_chars for note in objects(resource.get("note"))):
        yield ElementFinding("note", f"is longer than {capabilities.note_max_chars} characters", "use %summary")


def _is_number(value: JsonValue) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
