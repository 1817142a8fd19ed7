"""The checker of charts itself: it passes what is true and finds each way in which a chart can be wrong."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.system.chart_checks import CODES, COMPONENTS, assert_chart_is_true
from tests.system.recording import RESULTS, WINDOW_MS, Place, record, subject_id

RECORDING = record(1, devices=3, seconds=30)
LOINC = {name: code for code, name in (CODES | COMPONENTS).items()}


def observation(place: Place, values: dict[str, int]) -> dict[str, Any]:
    patient, result, start_ms = place
    found: dict[str, Any] = {
        "status": "final",
        "code": {"coding": [{"code": LOINC[result]}]},
        "subject": {"reference": f"Patient/{subject_id(patient)}"},
        "effectivePeriod": {"start": instant(start_ms), "end": instant(start_ms + WINDOW_MS)},
    }
    if RESULTS[result] == (result,):
        return found | quantity(values[result])
    parts = [{"code": {"coding": [{"code": LOINC[vital]}]}} | quantity(value) for vital, value in values.items()]
    return found | {"component": parts}


def quantity(micro: int) -> dict[str, Any]:
    return {"valueQuantity": {"value": micro / 1_000_000}}


def instant(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat()


@pytest.fixture
def chart() -> list[dict[str, Any]]:
    return [observation(place, values) for place, values in RECORDING.results().items()]


def test_a_correct_chart_passes(chart: list[dict[str, Any]]) -> None:
    assert_chart_is_true(chart, RECORDING)


def test_a_missing_result_is_found(chart: list[dict[str, Any]]) -> None:
    with pytest.raises(AssertionError, match="not charted"):
        assert_chart_is_true(chart[1:], RECORDING)


def test_a_result_charted_twice_is_found(chart: list[dict[str, Any]]) -> None:
    with pytest.raises(AssertionError, match="charted twice"):
        assert_chart_is_true([*chart, deepcopy(chart[0])], RECORDING)


def test_a_value_that_is_off_by_a_millionth_is_found(chart: list[dict[str, Any]]) -> None:
    single = next(o for o in chart if "valueQuantity" in o)
    single["valueQuantity"]["value"] += 0.000001
    with pytest.raises(AssertionError):
        assert_chart_is_true(chart, RECORDING)


def test_a_panel_without_one_of_its_values_is_found(chart: list[dict[str, Any]]) -> None:
    panel = next(o for o in chart if "component" in o)
    panel["component"].pop()
    with pytest.raises(AssertionError):
        assert_chart_is_true(chart, RECORDING)


def test_results_of_two_patients_that_were_exchanged_are_found(chart: list[dict[str, Any]]) -> None:
    first = chart[0]
    other = next(o for o in chart if o["subject"] != first["subject"] and o["code"] == first["code"])
    first["subject"], other["subject"] = other["subject"], first["subject"]
    with pytest.raises(AssertionError):
        assert_chart_is_true(chart, RECORDING)


def test_a_result_of_a_patient_who_does_not_consent_is_found(chart: list[dict[str, Any]]) -> None:
    chart[0]["subject"] = {"reference": f"Patient/{subject_id(RECORDING.patients[0])}"}
    with pytest.raises(KeyError):
        assert_chart_is_true(chart, RECORDING)


def test_the_same_seed_gives_the_same_bytes_on_any_day() -> None:
    assert record(1, devices=3, seconds=30).messages == RECORDING.messages
