"""US Core checks: the published examples pass, the rules say what the published profiles say, and every mutation is found."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mappings.observation.profiles import RULES, Profile
from mappings.observation.structure import structure
from mappings.observation.us_core import validate
from schemas.endpoint_kinds import DEFAULTS

PUBLISHED = Path(__file__).parents[1] / "data" / "us-core"
EXAMPLES = sorted(PUBLISHED.glob("example-*.json"))
Resource = dict[str, Any]


def example(name: str) -> Resource:
    loaded: Resource = json.loads((PUBLISHED / f"example-{name}.json").read_text())
    return loaded


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_published_example_passes(path: Path) -> None:
    resource = json.loads(path.read_text())
    assert validate(resource) == []
    assert structure(resource) == []


def put(path: str, value: object) -> Callable[[Resource], None]:
    def change(resource: Resource) -> None:
        *steps, last = (int(step) if step.isdigit() else step for step in path.split("."))
        inner: Any = resource
        for step in steps:
            inner = inner[step]
        inner[last] = value

    return change


def drop(path: str) -> Callable[[Resource], None]:
    def change(resource: Resource) -> None:
        *steps, last = (int(step) if step.isdigit() else step for step in path.split("."))
        inner: Any = resource
        for step in steps:
            inner = inner[step]
        del inner[last]

    return change


@pytest.mark.parametrize(
    ("name", "change", "path"),
    [
        ("heart-rate", put("resourceType", "Patient"), "resourceType"),
        ("heart-rate", drop("status"), "status"),
        ("heart-rate", put("status", "done"), "status"),
        ("heart-rate", drop("category"), "category"),
        ("heart-rate", put("category.0.coding.0.code", "laboratory"), "category"),
        ("heart-rate", put("category.0.coding.0.system", "http://hl7.org/fhir/observation-category"), "category"),
        ("heart-rate", drop("subject"), "subject.reference"),
        ("heart-rate", put("subject.reference", "Group/1"), "subject.reference"),
        ("heart-rate", drop("effectiveDateTime"), "effective[x]"),
        ("heart-rate", put("effectiveDateTime", "2026-01-05T10:00:00"), "effectiveDateTime"),
        ("heart-rate", put("effectivePeriod", {"start": "2026-01-05"}), "effective[x]"),
        ("heart-rate", drop("code"), "code"),
        ("heart-rate", put("code.coding.0.system", "urn:local"), "code"),
        ("heart-rate", drop("valueQuantity"), "valueQuantity"),
        ("heart-rate", drop("valueQuantity.value"), "valueQuantity.value"),
        ("heart-rate", put("valueQuantity.value", "72"), "valueQuantity.value"),
        ("heart-rate", put("valueQuantity.value", True), "valueQuantity.value"),
        ("heart-rate", drop("valueQuantity.unit"), "valueQuantity.unit"),
        ("heart-rate", drop("valueQuantity.system"), "valueQuantity.system"),
        ("heart-rate", put("valueQuantity.code", "bpm"), "valueQuantity.code"),
        ("temperature", put("valueQuantity.code", "K"), "valueQuantity.code"),
        ("weight", put("valueQuantity.code", "mg"), "valueQuantity.code"),
        ("blood-pressure", drop("component.1"), "component"),
        ("blood-pressure", put("component.1.code.coding.0.code", "8867-4"), "component"),
        ("blood-pressure", put("component.1.code.coding.0.code", "8480-6"), "component"),
        ("blood-pressure", drop("component.0.valueQuantity"), "component.0.valueQuantity"),
        ("blood-pressure", put("component.0.valueQuantity.code", "kPa"), "component.0.valueQuantity.code"),
        ("blood-pressure", put("valueQuantity", {"value": 90}), "value[x]"),
    ],
)
def test_a_mutation_of_a_published_example_is_found(name: str, change: Callable[[Resource], None], path: str) -> None:
    resource = copy.deepcopy(example(name))
    change(resource)
    assert path in {finding.path for finding in validate(resource)}


def test_a_missing_value_with_its_reason_passes() -> None:
    resource = example("blood-pressure")
    del resource["component"][0]["valueQuantity"]
    resource["component"][0]["dataAbsentReason"] = {"coding": [{"code": "unknown"}]}
    assert validate(resource) == []


def test_pulse_oximetry_requires_both_codings_unless_the_endpoint_accepts_only_one() -> None:
    resource = example("heart-rate")
    resource["code"]["coding"] = [{"system": "http://loinc.org", "code": "59408-5"}]
    resource["valueQuantity"] |= {"unit": "%", "code": "%"}
    assert [finding.path for finding in validate(resource)] == ["code.coding"]
    assert validate(resource, DEFAULTS["epic"].observation) == []


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (put("code.coding", [{"system": "http://loinc.org", "code": "8867-4"}, {"code": "mine"}]), "code.coding"),
        (put("note", [{"text": "x" * 255}]), "note"),
    ],
)
def test_what_epic_refuses_is_found_before_sending(change: Callable[[Resource], None], path: str) -> None:
    resource = example("heart-rate")
    change(resource)
    assert validate(resource) == []
    assert [finding.path for finding in validate(resource, DEFAULTS["epic"].observation)] == [path]


def test_a_missing_performer_is_found_if_the_endpoint_requires_one() -> None:
    capabilities = DEFAULTS["oracle-health"].observation.model_copy(update={"performer": "Practitioner/1"})
    resource = example("heart-rate")
    del resource["performer"]
    assert [finding.path for finding in validate(resource, capabilities)] == ["performer"]


def test_a_finding_never_repeats_a_value_of_the_patient() -> None:
    resource = example("heart-rate")
    resource["subject"]["reference"] = "Jane Doe"
    resource["valueQuantity"]["value"] = "seventy-two"
    resource["effectiveDateTime"] = "noon"
    reported = repr(validate(resource)) + repr(structure(resource))
    assert not any(secret in reported for secret in ("Jane", "seventy", "noon"))


def published_profiles() -> list[Profile]:
    return [profile for profile in RULES.profiles if profile.name.startswith("us-core")]


@pytest.mark.parametrize("profile", published_profiles(), ids=lambda profile: profile.name)
def test_the_rules_say_what_the_published_profile_says(profile: Profile) -> None:
    published = json.loads((PUBLISHED / f"StructureDefinition-{profile.name}.json").read_text())
    elements = {element["id"]: element for element in published["differential"]["element"]}

    codes = {
        coding["code"]
        for element_id, element in elements.items()
        if element_id.startswith("Observation.code")
        for coding in [*element.get("patternCodeableConcept", {}).get("coding", []), element.get("patternCoding", {})]
        if "code" in coding
    }
    assert codes == set(profile.codes)

    fixed = elements.get("Observation.valueQuantity.code", {}).get("fixedCode")
    if fixed:
        assert profile.units == (fixed,)

    slices = {
        element["patternCodeableConcept"]["coding"][0]["code"]: (
            elements[element_id.removesuffix(".code")]["min"],
            elements[element_id.replace(".code", ".valueQuantity.code")]["fixedCode"],
        )
        for element_id, element in elements.items()
        if element_id.startswith("Observation.component:") and "patternCodeableConcept" in element
    }
    ours = {code: (1, units[0]) for code, units in profile.required.items()}
    ours |= {code: (0, units[0]) for code, units in profile.optional.items()}
    assert slices == ours


def test_the_category_is_that_of_the_published_base_profile() -> None:
    published = json.loads((PUBLISHED / "StructureDefinition-us-core-vital-signs.json").read_text())
    fixed = {element["id"]: element for element in published["differential"]["element"]}
    assert fixed["Observation.category:VSCat.coding.system"]["fixedUri"] == RULES.category_system
    assert fixed["Observation.category:VSCat.coding.code"]["fixedCode"] == RULES.category_code
