"""What is charted is what was measured, whatever a template says, and what cannot be charted is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.linting.examples import example_window, examples
from mappings.observation.mapper import BUILT_IN_TEMPLATE, ObservationMapper
from mappings.observation.structure import structure
from mappings.observation.us_core import validate
from schemas.config import Config
from schemas.errors import Misconfigured, Rejected
from schemas.reasons import Reason
from schemas.window import Window

ENDPOINTS: dict[str, dict[str, Any]] = {
    "plain": {"kind": "fhir", "base_url": "http://127.0.0.1/fhir"},
    "epic": {"kind": "epic", "base_url": "http://127.0.0.1/api"},
    "oracle": {
        "kind": "oracle-health",
        "base_url": "http://127.0.0.1/r4",
        "capabilities": {"performer": "Practitioner/11938004"},
    },
}


def config(**vitals: Any) -> Config:
    return Config.model_validate({"endpoints": ENDPOINTS, "vitals": vitals})


def window(name: str = "heart_rate", **changes: Any) -> Window:
    return example_window(config(), name).model_copy(update=changes)


def test_the_charted_value_is_the_configured_statistic() -> None:
    given_window = window(mean=1.5, median=2.5, min=3.5, max=4.5, first=5.5, last=6.5)
    for statistic in ("mean", "median", "min", "max", "first", "last"):
        mapper = ObservationMapper(config(heart_rate={"statistic": statistic}), "plain")
        charted = mapper.render([given_window], "x1")["valueQuantity"]["value"]
        assert charted == getattr(given_window, statistic)


@pytest.mark.parametrize(
    ("value", "text"), [(72.0, "72"), (36.6, "36.6"), (0.1 + 0.2, "0.3"), (71.983333, "71.983333"), (1e-6, "1e-06")]
)
def test_a_value_is_a_json_number_without_float_noise(value: float, text: str) -> None:
    charted = ObservationMapper(config(), "plain").render([window(median=value)], "x1")
    assert json.dumps(charted["valueQuantity"]["value"]) == text


@given(
    st.sampled_from(sorted(ENDPOINTS)),
    st.sampled_from([windows for _, windows in examples(config())]),
    st.integers(-(10**9), 10**9),
    st.integers(1, 10_000),
    st.integers(0, 3),
)
@settings(deadline=None)
def test_every_window_becomes_valid_fhir_and_us_core(
    endpoint: str, windows: list[Window], micro: int, count: int, revision: int
) -> None:
    changed = [w.model_copy(update={"median": micro / 1e6, "count": count, "revision": revision}) for w in windows]
    mapper = ObservationMapper(CONFIG, endpoint)
    resource = mapper.render(changed, "x1", "amended" if revision else "final")
    assert structure(resource) == []
    assert validate(resource, CONFIG.endpoints[endpoint].matrix.observation) == []
    values = [
        holder["valueQuantity"]["value"]
        for holder in [resource, *resource.get("component", [])]
        if "valueQuantity" in holder
    ]
    assert values == [micro / 1e6] * len(windows)


CONFIG = config()


def test_members_of_a_panel_may_come_in_any_order() -> None:
    systolic, diastolic = window("systolic_bp"), window("diastolic_bp")
    mapper = ObservationMapper(config(), "plain")
    assert mapper.render([diastolic, systolic], "x1") == mapper.render([systolic, diastolic], "x1")


def test_the_panel_carries_the_identity_of_the_systolic_window() -> None:
    systolic, diastolic = window("systolic_bp"), window("diastolic_bp")
    charted = ObservationMapper(config(), "plain").render([diastolic, systolic], "x1")
    assert charted["identifier"] == [{"system": "urn:vitalwire:window", "value": systolic.window_id}]


def test_a_missing_partner_says_that_it_is_unknown() -> None:
    charted = ObservationMapper(config(), "plain").render([window("systolic_bp")], "x1")
    assert "valueQuantity" in charted["component"][0]
    assert charted["component"][1]["dataAbsentReason"]["coding"][0]["code"] == "unknown"


def test_epic_gets_one_coding_and_nothing_that_it_does_not_keep() -> None:
    charted = ObservationMapper(config(), "epic").render([window("spo2")], "x1")
    assert [coding["code"] for coding in charted["code"]["coding"]] == ["59408-5"]
    assert charted.keys().isdisjoint({"identifier", "device", "contained", "method", "effectivePeriod", "encounter"})


def test_oracle_health_gets_a_performer_for_the_vital() -> None:
    performer = ObservationMapper(config(), "oracle").render([window()], "x1")["performer"][0]
    assert performer["reference"] == "Practitioner/11938004"
    assert performer["extension"][0]["valueCodeableConcept"]["coding"][0]["code"] == "LA"


def test_oracle_health_without_a_performer_is_refused_when_it_is_loaded() -> None:
    given_config = Config.model_validate(
        {"endpoints": {"o": {"kind": "oracle-health", "base_url": "http://127.0.0.1"}}}
    )
    with pytest.raises(Misconfigured, match="performer"):
        ObservationMapper(given_config, "o")


def test_an_amendment_keeps_the_identity_and_says_that_it_is_one() -> None:
    mapper = ObservationMapper(config(), "plain")
    first = mapper.render([window()], "x1")
    amended = mapper.render([window(revision=1, median=80.0)], "x1", "amended")
    assert (first["status"], amended["status"]) == ("final", "amended")
    assert first["identifier"] == amended["identifier"]
    assert "revised with late readings" in amended["note"][0]["text"]


def test_the_note_is_cut_to_what_the_site_takes() -> None:
    endpoints = {"plain": ENDPOINTS["plain"] | {"capabilities": {"note_max_chars": 12}}}
    charted = ObservationMapper(Config.model_validate({"endpoints": endpoints}), "plain").render([window()], "x1")
    assert charted["note"] == [{"text": "Median of 58"}]


def test_a_device_named_like_a_template_stays_a_name() -> None:
    charted = ObservationMapper(config(), "plain").render([window(device_id="{{ %subject }}")], "x1")
    assert charted["contained"][0]["deviceName"][0]["name"] == "{{ %subject }}"


START = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("windows", "reason"),
    [
        ([], Reason.MALFORMED),
        ([window(type="pain")], Reason.UNKNOWN_TYPE),
        ([window(unit="bpm")], Reason.UNIT_MISMATCH),
        ([window(), window("spo2")], Reason.MALFORMED),
        ([window(), window()], Reason.MALFORMED),
        ([window("systolic_bp"), window("diastolic_bp", patient_id="other")], Reason.MALFORMED),
        ([window("systolic_bp"), window("diastolic_bp", device_id="other")], Reason.MALFORMED),
        ([window("systolic_bp"), window("diastolic_bp", end=START + timedelta(days=1))], Reason.MALFORMED),
    ],
)
def test_windows_that_are_not_one_result_are_refused_with_a_reason(windows: list[Window], reason: Reason) -> None:
    with pytest.raises(Rejected) as refused:
        ObservationMapper(config(), "plain").render(windows, "x1")
    assert refused.value.reason is reason


@pytest.mark.parametrize("subject_id", ["", "a/b", "Patient/1", "x?y", "../1", "a b"])
def test_a_subject_id_that_is_no_fhir_id_is_refused(subject_id: str) -> None:
    with pytest.raises(Rejected) as refused:
        ObservationMapper(config(), "plain").render([window()], subject_id)
    assert refused.value.reason is Reason.UNKNOWN_PATIENT


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('value: "{{ %window.value }}"', 'value: "{{ %window.value * 2 }}"'),
        ('value: "{{ %window.value }}"', 'value: "{{ %window.count }}"'),
        ('code: "{{ %vital.unit }}"', "code: bpm"),
        ('reference: "{{ %subject }}"', "reference: Patient/other"),
        ('coding: "{[ %vital.codings ]}"', "coding: [{system: http://loinc.org, code: 9279-1}]"),
        ('end: "{{ %window.end }}"', "end: 2020-01-01T00:00:00Z"),
        ('status: "{{ %status }}"', "status: done"),
    ],
)
def test_a_template_that_says_something_else_than_was_measured_charts_nothing(old: str, new: str) -> None:
    assert old in BUILT_IN_TEMPLATE
    mapper = ObservationMapper(config(), "plain", BUILT_IN_TEMPLATE.replace(old, new))
    with pytest.raises(Misconfigured, match="rendered an invalid Observation"):
        mapper.render([window(median=72.0)], "x1")


def test_swapped_pressures_are_never_charted() -> None:
    swapped = BUILT_IN_TEMPLATE.replace(
        'coding: "{[ %part.codings ]}"',
        "coding: [{system: http://loinc.org, code: \"{{ iif(%part.name = 'systolic_bp', '8462-4', '8480-6') }}\"}]",
    )
    mapper = ObservationMapper(config(), "plain", swapped)
    with pytest.raises(Misconfigured, match="rendered an invalid Observation"):
        mapper.render([window("systolic_bp", median=120.0), window("diastolic_bp", median=80.0)], "x1")


def test_a_site_may_chart_another_unit_if_the_number_agrees() -> None:
    fahrenheit = BUILT_IN_TEMPLATE.replace(
        'value: "{{ %window.value }}"',
        "value: \"{{ iif(%vital.unit = 'Cel', (%window.value * 1.8 + 32).round(1), %window.value) }}\"",
    ).replace('code: "{{ %vital.unit }}"', "code: \"{{ iif(%vital.unit = 'Cel', '[degF]', %vital.unit) }}\"")
    quantity = ObservationMapper(config(), "plain", fahrenheit).render([window("body_temperature", median=36.95)], "x1")
    assert quantity["valueQuantity"]["value"] == 98.5
    assert quantity["valueQuantity"]["code"] == "[degF]"


def test_a_refused_rendering_shows_no_patient_data() -> None:
    mapper = ObservationMapper(config(), "plain", BUILT_IN_TEMPLATE.replace('code: "{{ %vital.unit }}"', "code: bpm"))
    with pytest.raises(Misconfigured) as refused:
        mapper.render([window(median=123.456, device_id="mon-secret")], "subject-secret")
    assert not any(word in str(refused.value) for word in ("123.456", "secret"))


@pytest.mark.parametrize(
    ("template", "words"),
    [("a: [", "not YAML"), ("a: '{{ %b. }}'", "not a FHIRPath"), ("a: '{{ %patient }}'", "unknown variables: patient")],
)
def test_a_template_with_a_mistake_is_refused_when_it_is_loaded(template: str, words: str) -> None:
    with pytest.raises(Misconfigured, match=words):
        ObservationMapper(config(), "plain", template)


def test_a_vital_that_the_configuration_defines_is_charted_by_its_definition() -> None:
    definition = {
        "codes": [{"code": "19889-5", "display": "End tidal CO2"}],
        "unit": "mm[Hg]",
        "unit_text": "mmHg",
        "range": [0, 150],
    }
    given_config = config(end_tidal_co2={"range": [0, 150], "definition": definition})
    charted = ObservationMapper(given_config, "plain").render([example_window(given_config, "end_tidal_co2")], "x1")
    assert charted["code"]["coding"][0]["code"] == "19889-5"
    assert charted["valueQuantity"]["code"] == "mm[Hg]"
