"""What each profile refuses when an Observation is written. Source: docs/ehr-behaviour.md §1 and §2."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from testbed.sandbox_ehr.profile import Profile
from testbed.sandbox_ehr.store import Store, instant, patient_of

LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"
BP = "85354-9"
BP_PARTS = frozenset({"8480-6", "8462-4"})
OXIMETRY_PARTS = frozenset({"3150-0", "3151-8"})
EPIC_CATEGORIES = frozenset(
    {"http://hl7.org/fhir/observation-category", "http://terminology.hl7.org/CodeSystem/observation-category"}
)
# LOINC code → the unit of the flowsheet row it is mapped to. Other codes have no row.
EPIC_ROWS = {
    "8867-4": "/min",
    "9279-1": "/min",
    "59408-5": "%",
    "2708-6": "%",
    "8310-5": "Cel",
    BP: "mm[Hg]",
    "99504-3": "mg/dL",
    "105272-9": "mmol/L",
    "29463-7": "kg",
    "8302-2": "cm",
}
EPIC_CONVERTED = {"8310-5": {"Cel", "[degF]"}, "29463-7": {"kg", "g", "[lb_av]"}, "8302-2": {"cm", "[in_i]"}}
EPIC_KEPT = (
    "resourceType", "status", "category", "code", "subject", "encounter", "effectiveDateTime", "valueQuantity",
    "component", "note",
)  # fmt: skip
ORACLE_KEPT = (
    *EPIC_KEPT,
    "performer",
    "issued",
    "interpretation",
    "referenceRange",
    "bodySite",
    "method",
    "dataAbsentReason",
)
STATUSES = frozenset(
    {"registered", "preliminary", "final", "amended", "corrected", "cancelled", "entered-in-error", "unknown"}
)
CLOSED = frozenset({"finished", "cancelled", "entered-in-error", "planned"})
FUNCTION = "http://hl7.org/fhir/StructureDefinition/event-performerFunction"


class Refusal(NamedTuple):
    """A refused write: HTTP status, Epic's error number (or none), FHIR issue type, words, and where to look instead."""

    status: int
    number: str | None
    issue: str
    words: str
    location: str | None = None


Body = Mapping[str, Any]


def refusal(profile: Profile, store: Store, observation: Body) -> Refusal | None:
    """The first rule that an Observation violates, or None."""
    found = next(_common(store, observation, profile), None)
    if found is not None:
        return found
    rules: dict[str, Callable[[Store, Body, Profile], Iterator[Refusal]]] = {
        "epic": _epic,
        "oracle-health": _oracle,
        "fhir": _fhir,
    }
    return next(rules[profile.rules](store, observation, profile), None)


def kept(profile: Profile, observation: Body) -> dict[str, Any]:
    """The elements of the resource that the EHR stores."""
    if profile.rules == "fhir":
        return dict(observation)
    names = EPIC_KEPT if profile.rules == "epic" else ORACLE_KEPT
    resource = {name: observation[name] for name in names if name in observation}
    if profile.rules == "epic":
        _assume_row_unit(resource)
    return resource


def _assume_row_unit(resource: dict[str, Any]) -> None:
    """Epic ignores most units: it files the number in the flowsheet row's own unit."""
    code = _coding(resource).get("code")
    if code in EPIC_CONVERTED or "valueQuantity" not in resource:
        return
    unit = EPIC_ROWS.get(str(code), "")
    resource["valueQuantity"] = {
        "value": resource["valueQuantity"].get("value"), "unit": unit, "system": UCUM, "code": unit,
    }  # fmt: skip


def _coding(holder: Body) -> Mapping[str, Any]:
    codings = _codings(holder.get("code"))
    return codings[0] if codings else {}


def _codings(holder: object) -> list[Mapping[str, Any]]:
    return list((holder.get("coding") or []) if isinstance(holder, Mapping) else [])


def _categories(observation: Body) -> list[tuple[str, str]]:
    return [(str(c.get("system")), str(c.get("code"))) for k in observation.get("category") or () for c in _codings(k)]


def _common(store: Store, observation: Body, profile: Profile) -> Iterator[Refusal]:
    epic = profile.rules == "epic"
    status = 400 if epic else 422
    for name in ("status", "code", "subject"):
        if not observation.get(name):
            yield Refusal(status, "59108", "required", f"{name} is required")
    patient = patient_of(observation)
    if patient is not None and patient in store.merged:
        survivor = f"Patient/{store.merged[patient]}"
        yield Refusal(302 if epic else 422, "4107", "business-rule", "patient was merged", survivor)
    elif patient is None or store.get("Patient", patient) is None:
        yield Refusal(status, "59144", "not-found", "subject not found")


def _encounter(store: Store, observation: Body, *, required: bool) -> Refusal | None:
    reference = (observation.get("encounter") or {}).get("reference")
    if reference is None:
        return Refusal(400, "59108", "required", "encounter is required") if required else None
    encounter = store.get("Encounter", str(reference).rsplit("/", 1)[-1])
    if encounter is None:
        return Refusal(400, "59144", "not-found", "encounter not found")
    start = instant((encounter.get("period") or {}).get("start"))
    if (
        patient_of(encounter) != patient_of(observation)
        or encounter.get("status") in CLOSED
        or (start is not None and start > datetime.now(UTC))
    ):
        return Refusal(400, "59159", "business-rule", "encounter is of another patient, closed, or in the future")
    return None


def _epic(store: Store, observation: Body, profile: Profile) -> Iterator[Refusal]:
    code = str(_coding(observation).get("code"))
    if observation["status"] != "final":
        yield Refusal(400, "59111", "value", "status must be final")
    if not any(s in EPIC_CATEGORIES and c == "vital-signs" for s, c in _categories(observation)):
        yield Refusal(400, "59111", "value", "category must be vital-signs")
    if len(_codings(observation["code"])) != 1:
        yield Refusal(400, "59111", "value", "exactly one coding is allowed")
    if code not in EPIC_ROWS:
        yield Refusal(400, "59188", "business-rule", "no flowsheet row for this code")
    if not observation["subject"]["reference"].startswith("Patient/"):
        yield Refusal(400, "59111", "value", "subject must be relative")
    if not observation.get("effectiveDateTime"):
        yield Refusal(400, "59108", "required", "effectiveDateTime is required")
    if instant(observation.get("effectiveDateTime")) is None:
        yield Refusal(400, "59111", "value", "effectiveDateTime needs date, time and offset")
    yield from _epic_value(observation, code)
    if any(len(str(note.get("text", ""))) > 254 for note in observation.get("note") or ()):
        yield Refusal(400, "59111", "too-long", "note is longer than 254 characters")
    wrong = _encounter(store, observation, required=profile.encounter_required)
    if wrong is not None:
        yield wrong


def _epic_value(observation: Body, code: str) -> Iterator[Refusal]:
    if code == BP:
        if {_coding(c).get("code") for c in observation.get("component") or ()} != BP_PARTS:
            yield Refusal(400, "59108", "required", "systolic and diastolic components are required")
        if any((c.get("valueQuantity") or {}).get("value") is None for c in observation.get("component") or ()):
            yield Refusal(400, "59108", "required", "a component has no value")
    elif (observation.get("valueQuantity") or {}).get("value") is None:
        yield Refusal(400, "59108", "required", "a value is required")
    elif code in EPIC_CONVERTED and observation["valueQuantity"].get("code") not in EPIC_CONVERTED[code]:
        yield Refusal(400, "59111", "value", "unit is not of this row")


def _oracle(store: Store, observation: Body, profile: Profile) -> Iterator[Refusal]:
    for name in ("implicitRules", "modifierExtension"):
        if name in observation:
            yield Refusal(422, None, "not-supported", f"{name} is not supported")
    if observation["status"] not in ("final", "amended", "corrected"):
        yield Refusal(422, None, "value", "status must be final, amended or corrected")
    if [c for _, c in _categories(observation)] not in (["vital-signs"], ["laboratory"]):
        yield Refusal(422, None, "business-rule", "exactly one category, vital-signs or laboratory")
    if not any(c.get("system") == LOINC or "codeSet/72" in str(c.get("system")) for c in _codings(observation["code"])):
        yield Refusal(422, None, "value", "code must be LOINC or code set 72")
    if instant(observation.get("effectiveDateTime")) is None:
        yield Refusal(422, None, "required", "effectiveDateTime is required")
    if not any(_is_practitioner(p) for p in observation.get("performer") or ()):
        yield Refusal(422, None, "required", "vitals need a Practitioner with performer function LA")
    yield from _oracle_value(observation)
    wrong = _encounter(store, observation, required=profile.encounter_required)
    if wrong is not None:
        yield wrong._replace(status=422, number=None)


def _is_practitioner(performer: Body) -> bool:
    functions = [
        c.get("code")
        for e in performer.get("extension") or ()
        if e.get("url") == FUNCTION
        for c in _codings(e.get("valueCodeableConcept"))
    ]
    return "Practitioner/" in str(performer.get("reference")) and "LA" in functions


def _oracle_value(observation: Body) -> Iterator[Refusal]:
    parts = observation.get("component") or []
    codes = {str(c.get("code")) for c in _codings(observation["code"])}
    allowed = BP_PARTS if BP in codes else OXIMETRY_PARTS if "59408-5" in codes else frozenset()
    if any(_coding(part).get("code") not in allowed for part in parts):
        yield Refusal(422, None, "not-supported", "components are allowed for blood pressure and pulse oximetry only")
    for quantity in [holder.get("valueQuantity") for holder in (parts if BP in codes else [observation])]:
        if not isinstance(quantity, Mapping) or quantity.get("system") != UCUM or quantity.get("value") is None:
            yield Refusal(422, None, "value", "vitals need a valueQuantity in UCUM")


def _fhir(store: Store, observation: Body, profile: Profile) -> Iterator[Refusal]:
    if observation["status"] not in STATUSES:
        yield Refusal(422, None, "code-invalid", "status is not of the value set")
    if not observation["code"].get("coding") and not observation["code"].get("text"):
        yield Refusal(422, None, "required", "code has neither a coding nor a text")
    wrong = _encounter(store, observation, required=profile.encounter_required)
    if wrong is not None:
        yield wrong._replace(status=422, number=None)
