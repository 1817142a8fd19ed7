"""Whether an Observation in the chart is the one that was meant: same patient, code, time and value; nothing else counts."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mappings.observation.match import compare

MEANT: dict[str, Any] = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
    "subject": {"reference": "Patient/p"},
    "effectiveDateTime": "2026-01-05T10:01:00Z",
    "valueQuantity": {"value": 72, "unit": "beats/minute", "system": "http://unitsofmeasure.org", "code": "/min"},
}
PRESSURE: dict[str, Any] = {
    **{k: v for k, v in MEANT.items() if k != "valueQuantity"},
    "component": [
        {"code": {"coding": [{"system": "s", "code": "8480-6"}]}, "valueQuantity": {"value": 120, "code": "mm[Hg]"}},
        {"code": {"coding": [{"system": "s", "code": "8462-4"}]}, "valueQuantity": {"value": 80, "code": "mm[Hg]"}},
    ],
}


def changed(meant: dict[str, Any], **parts: Any) -> dict[str, Any]:
    return deepcopy(meant) | {"id": "1", "meta": {"versionId": "1"}} | parts


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"subject": {"reference": "https://ehr.example/r4/Patient/p"}},
        {"effectiveDateTime": "2026-01-05T04:01:00.000-06:00"},
        {"valueQuantity": {"value": 72.0, "unit": "x", "code": "/min"}},
        {"code": {"coding": [{"system": "local", "code": "5"}, {"system": "http://loinc.org", "code": "8867-4"}]}},
        {"identifier": [{"value": "another"}], "note": [{"text": "n"}], "encounter": {"reference": "Encounter/e"}},
    ],
)
def test_what_an_ehr_may_change_leaves_an_observation_the_same(parts: dict[str, Any]) -> None:
    found = compare(MEANT, [changed(MEANT, **parts)])
    assert ([w.resource_id for w in found.same], found.different) == (["1"], 0)


@pytest.mark.parametrize(
    "parts",
    [
        {"valueQuantity": {"value": 72.1, "code": "/min"}},
        {"valueQuantity": {"value": 72, "code": "/s"}},
        {"valueQuantity": None},
        {"valueQuantity": {"value": "NaN", "code": "/min"}},
    ],
)
def test_another_value_for_the_same_moment_contradicts(parts: dict[str, Any]) -> None:
    assert compare(MEANT, [changed(MEANT, **parts)]) == ((), 1)


@pytest.mark.parametrize(
    "parts",
    [
        {"subject": {"reference": "Patient/other"}},
        {"code": {"coding": [{"system": "http://loinc.org", "code": "9279-1"}]}},
        {"effectiveDateTime": "2026-01-05T10:02:00Z"},
        {"effectiveDateTime": "2026-01-05"},
        {"status": "entered-in-error"},
    ],
)
def test_what_is_about_something_else_is_no_match_and_no_contradiction(parts: dict[str, Any]) -> None:
    assert compare(MEANT, [changed(MEANT, **parts)]) == ((), 0)


def test_a_blood_pressure_is_the_same_only_with_both_of_its_values() -> None:
    swapped = deepcopy(PRESSURE["component"])
    swapped[0]["valueQuantity"]["value"], swapped[1]["valueQuantity"]["value"] = 80, 120
    assert len(compare(PRESSURE, [changed(PRESSURE, component=PRESSURE["component"][::-1])]).same) == 1
    assert compare(PRESSURE, [changed(PRESSURE, component=swapped)]) == ((), 1)
    assert compare(PRESSURE, [changed(PRESSURE, component=PRESSURE["component"][:1])]) == ((), 1)


odd_text = st.text(max_size=5) | st.sampled_from(
    ["1e1000001", "9" * 5000, "\ud800", "9999-12-31T23:59:59-05:00", "NaN"]
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | odd_text,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*MEANT, "coding", "value", "code", "unit", "system", "reference", "start", "end"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=15,
)


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from([*MEANT, "component", "effectivePeriod", "valueString", "meta", "id"]), anything
        ),
        max_size=3,
    )
)
def test_any_json_can_be_compared(candidates: list[dict[str, Any]]) -> None:
    for meant in (MEANT, PRESSURE):
        found = compare(meant, candidates)
        assert len(found.same) + found.different <= len(candidates)


@given(st.sampled_from(["valueQuantity", "valueString", "component", "identifier", "note"]), anything)
def test_whatever_an_ehr_makes_of_a_value_the_result_is_not_taken_for_absent(name: str, odd: object) -> None:
    found = compare(MEANT, [changed(MEANT, **{name: odd})])
    assert len(found.same) + found.different == 1


nonsense = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(), lambda inner: st.lists(inner, max_size=3), max_leaves=5
)


@given(st.sampled_from(["code", "subject", "effectiveDateTime"]), nonsense)
def test_a_result_whose_patient_code_or_time_cannot_be_read_may_be_ours_and_contradicts(name: str, odd: object) -> None:
    assert compare(MEANT, [changed(MEANT, **{name: odd})]) == ((), 1)


@pytest.mark.parametrize(
    "parts",
    [
        {"valueQuantity": {"value": 72, "code": ["/min"]}},
        {"valueQuantity": {"value": "1e1000001", "code": "/min"}},
        {"valueQuantity": {"value": True, "code": "/min"}},
        {"valueQuantity": None, "valueString": {"a": 1}},
        {"component": [7]},
        {"component": [{"code": {"coding": [{"code": [1]}]}, "valueQuantity": {"value": 72, "code": "/min"}}]},
        {"code": {"coding": [{"system": "http://loinc.org", "code": 88674}]}},
        {"code": {"text": "heart rate"}},
        {"subject": {"display": "somebody"}},
        {"effectiveDateTime": "yesterday"},
        {"effectiveDateTime": "0001-01-01T00:00:00+14:00"},
        {"effectiveDateTime": "2026-01-05T10:01:00"},
    ],
)
def test_what_cannot_be_read_is_doubt_and_never_an_absence(parts: dict[str, Any]) -> None:
    assert compare(MEANT, [changed(MEANT, **parts)]) == ((), 1)


def test_a_number_too_long_to_be_written_out_is_doubt() -> None:
    assert compare(MEANT, [changed(MEANT, valueQuantity={"value": 10**5000, "code": "/min"})]) == ((), 1)
