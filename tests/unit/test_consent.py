"""A FHIR Consent permits what it says and nothing else; what is not understood never permits."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mappings.consent.resource import consent_from_fhir
from schemas.reference import Consent

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
RESOURCE_TYPES = "http://hl7.org/fhir/resource-types"
ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"

PERMIT_ALL: dict[str, Any] = {
    "resourceType": "Consent",
    "status": "active",
    "scope": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]},
    "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
    "patient": {"reference": "Patient/p-9"},
    "dateTime": "2026-01-01",
    "provision": {"type": "permit", "period": {"start": "2026-01-01", "end": "2026-12-31"}},
}


def read(**changes: Any) -> Consent:
    return consent_from_fhir(copy.deepcopy(PERMIT_ALL) | changes, "north", "p-9")


def nested(*provisions: dict[str, Any], root: str = "permit", **more: Any) -> Consent:
    return read(provision={"type": root, "provision": list(provisions), **more})


def classes(*names: str) -> list[dict[str, str]]:
    return [{"system": RESOURCE_TYPES, "code": name} for name in names]


def loinc(*codes: str) -> list[dict[str, Any]]:
    return [{"coding": [{"system": "http://loinc.org", "code": code}]} for code in codes]


def endpoint(name: str) -> list[dict[str, Any]]:
    return [{"role": {}, "reference": {"identifier": {"system": "urn:vitalwire:endpoint", "value": name}}}]


def permits(consent: Consent, vital: str = "heart_rate", site: str = "north-epic", at: datetime = NOW) -> bool:
    return consent.allows("vitals", vital, site, at)


def test_a_permission_without_limits_permits_everything_in_its_period() -> None:
    consent = read()
    assert permits(consent)
    assert consent.allows("documents", "*", "north-epic", NOW)
    assert consent.allows("patient-info", "Condition", "north-epic", NOW)
    assert not permits(consent, at=datetime(2025, 12, 31, tzinfo=UTC))
    assert not permits(consent, at=datetime(2027, 1, 1, tzinfo=UTC))


def test_a_day_without_a_time_is_interpreted_as_the_shortest_one_on_earth() -> None:
    consent = read()
    assert consent.since == datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert consent.until == datetime(2026, 12, 31, 10, tzinfo=UTC)


@pytest.mark.parametrize("status", ["draft", "proposed", "rejected", "inactive", "entered-in-error", None])
def test_only_an_active_consent_permits(status: str | None) -> None:
    assert not permits(read(status=status))


def test_another_patients_consent_permits_nothing() -> None:
    assert not permits(read(patient={"reference": "Patient/p-10"}))
    assert permits(read(patient={"reference": "https://ehr.example/fhir/Patient/p-9"}))
    assert permits(read(patient={"identifier": {"system": "urn:mrn", "value": "p-9"}}))


def test_a_denied_vital_is_denied_and_the_others_stay_permitted() -> None:
    consent = nested({"type": "deny", "code": loinc("8867-4")})
    assert not permits(consent, "heart_rate")
    assert permits(consent, "spo2")


def test_denying_one_pressure_denies_the_panel_that_contains_it() -> None:
    consent = nested({"type": "deny", "code": loinc("8462-4")})
    assert not permits(consent, "diastolic_bp")
    assert not permits(consent, "blood_pressure")
    assert permits(consent, "systolic_bp")


def test_permitting_the_panel_permits_its_members() -> None:
    consent = nested({"type": "permit", "code": loinc("85354-9")}, root="deny")
    assert permits(consent, "blood_pressure")
    assert permits(consent, "systolic_bp")
    assert not permits(consent, "heart_rate")


def test_a_denied_endpoint_is_denied_and_the_others_stay_permitted() -> None:
    consent = nested({"type": "deny", "actor": endpoint("north-research")})
    assert not permits(consent, site="north-research")
    assert permits(consent, site="north-epic")


def test_a_resource_type_determines_the_purpose() -> None:
    consent = nested({"type": "permit", "class": classes("Observation", "Condition")}, root="deny")
    assert permits(consent)
    assert consent.allows("patient-info", "Condition", "north-epic", NOW)
    assert not consent.allows("patient-info", "AllergyIntolerance", "north-epic", NOW)
    assert not consent.allows("documents", "*", "north-epic", NOW)


def test_opting_in_by_policy_permits_and_opting_out_does_not() -> None:
    def policy(code: str) -> dict[str, Any]:
        return {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": code}]}

    assert permits(read(policyRule=policy("OPTIN"), provision={}))
    assert not permits(read(policyRule=policy("OPTOUT"), provision={}))
    assert not permits(read(policyRule=policy("OPTOUT")))
    assert not permits(read(provision={}))


def test_a_denial_of_research_leaves_treatment_permitted() -> None:
    assert permits(nested({"type": "deny", "purpose": [{"system": ACT_REASON, "code": "HRESCH"}]}))
    assert not permits(nested({"type": "deny", "purpose": [{"system": ACT_REASON, "code": "TREAT"}]}))
    assert not permits(nested({"type": "deny", "purpose": [{"system": "urn:local", "code": "HRESCH"}]}))


def test_a_permission_for_research_does_not_permit_treatment() -> None:
    assert not permits(read(provision={"type": "permit", "purpose": [{"system": ACT_REASON, "code": "HRESCH"}]}))


NOT_UNDERSTOOD: list[dict[str, Any]] = [
    {"securityLabel": [{"code": "R"}]},
    {"action": [{"coding": [{"code": "access"}]}]},
    {"dataPeriod": {"start": "2026-01-01"}},
    {"data": [{"meaning": "instance"}]},
    {"modifierExtension": [{"url": "urn:x"}]},
    {"class": [{"system": "urn:local", "code": "Observation"}]},
    {"class": classes("Binary")},
    {"code": loinc("99999-9")},
    {"code": [{"text": "heart rate"}]},
    {"code": []},
    {"actor": []},
    {"actor": [{"reference": {"reference": "Practitioner/1"}}]},
]


@pytest.mark.parametrize("element", NOT_UNDERSTOOD, ids=lambda element: str(element)[:30])
def test_a_limit_that_is_not_understood_permits_nothing(element: dict[str, Any]) -> None:
    assert not permits(nested({"type": "permit", **element}, root="deny"))
    assert not permits(read(provision={"type": "permit", **element}))


@pytest.mark.parametrize("element", NOT_UNDERSTOOD, ids=lambda element: str(element)[:30])
def test_a_denial_that_is_not_understood_denies_everything(element: dict[str, Any]) -> None:
    consent = nested({"type": "deny", **element})
    assert not permits(consent)
    assert not consent.allows("documents", "*", "north-epic", NOW)


def test_an_exception_of_an_unknown_type_denies_everything() -> None:
    assert not permits(nested({"type": "forbid", "code": loinc("29463-7")}))
    assert not permits(nested({"code": loinc("29463-7")}))


def test_a_temporary_permission_in_a_denial_is_not_interpreted_as_a_permanent_one() -> None:
    assert not permits(nested({"type": "permit", "period": {"end": "2026-01-02"}}, root="deny"))


def test_exceptions_of_a_narrowed_denial_permit_nothing() -> None:
    assert not permits(nested({"type": "permit"}, root="deny", **{"class": classes("Observation")}))


@pytest.mark.parametrize(
    ("changes", "element"),
    [
        ({"modifierExtension": []}, "modifierExtension"),
        ({"implicitRules": "urn:x"}, "implicitRules"),
        ({"scope": {"coding": [{"code": "research"}]}}, "scope"),
        ({"verification": [{"verified": False}]}, "verification"),
        ({"provision": None}, "provision"),
        ({"provision": {"type": "allow"}}, "provision.type"),
        ({"provision": {"type": "permit", "period": {"start": "2026-1"}}}, "provision.period"),
        ({"provision": {"type": "permit", "period": {"end": "2026-12-31T10:00:00"}}}, "provision.period"),
        ({"resourceType": "Contract"}, "resourceType"),
    ],
)
def test_a_consent_that_is_not_understood_permits_nothing_and_names_the_element(
    changes: dict[str, Any], element: str
) -> None:
    consent = read(**changes)
    assert consent.status == f"not understood: {element}"
    assert consent.permits == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "class", "coding", "x"]), inner)
    ),
    max_leaves=6,
)


@given(st.sampled_from(sorted(PERMIT_ALL)), JSON)
def test_any_element_replaced_by_any_value_results_in_a_consent(name: str, value: Any) -> None:
    assert isinstance(read(**{name: value}), Consent)


@given(st.sampled_from(["type", "period", "class", "code", "actor", "purpose", "provision"]), JSON)
def test_any_element_of_a_provision_replaced_by_any_value_results_in_a_consent(name: str, value: Any) -> None:
    assert isinstance(nested({"type": "deny", name: value}, root="permit"), Consent)
    assert isinstance(read(provision={"type": "permit", name: value}), Consent)
