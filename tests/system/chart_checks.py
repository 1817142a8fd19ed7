"""What an EHR holds, asked through its own API, beside what the recording says it must hold. Knows nothing of the pipeline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

import httpx
import orjson

from tests.system.recording import RESULTS, WINDOW_MS, Place, Recording, subject_id

CODES = {"8867-4": "heart_rate", "59408-5": "spo2", "85354-9": "blood_pressure"}
COMPONENTS = {"8480-6": "systolic_bp", "8462-4": "diastolic_bp"}
Chart = list[tuple[Place, dict[str, int]]]


def sandbox_observations(origin: str) -> list[dict[str, Any]]:
    """All that a sandbox EHR accepted."""
    answer = httpx.get(f"{origin}/__sandbox/resources", params={"type": "Observation"}, timeout=30).raise_for_status()
    return [orjson.loads(line) for line in answer.content.splitlines()]


def searched_observations(base_url: str, patients: Iterable[str]) -> list[dict[str, Any]]:
    """All Observations of these patients that a FHIR server finds, page by page."""
    found: list[dict[str, Any]] = []
    for patient in patients:
        url: str | None = f"{base_url}/Observation?subject=Patient/{subject_id(patient)}&_count=100"
        while url is not None:
            bundle = httpx.get(url, timeout=60).raise_for_status().json()
            found += [entry["resource"] for entry in bundle.get("entry", [])]
            url = next((link["url"] for link in bundle["link"] if link["relation"] == "next"), None)
    return found


def assert_chart_is_true(observations: Sequence[Mapping[str, Any]], recording: Recording) -> None:
    """The right patients have exactly the results that follow from what was sent: none missing, none twice, none else."""
    expected = recording.results()
    patients = {f"Patient/{subject_id(patient)}": patient for patient in recording.consented}
    chart = [_result(observation, patients) for observation in observations]
    times = Counter(place for place, _ in chart)
    assert [place for place, n in times.items() if n > 1] == [], "charted twice"
    held = dict(chart)
    assert sorted(expected.keys() - held.keys()) == [], "not charted"
    assert sorted(held.keys() - expected.keys()) == [], "charted without cause"
    assert {place: (held[place], value) for place, value in expected.items() if held[place] != value} == {}


def _result(observation: Mapping[str, Any], patients: Mapping[str, str]) -> tuple[Place, dict[str, int]]:
    assert observation["status"] == "final"
    result = next(CODES[code] for code in _codes(observation) if code in CODES)
    if result == "blood_pressure":
        parts = {COMPONENTS[_codes(part)[0]]: _micro(part) for part in observation["component"]}
        assert len(parts) == len(observation["component"])
    else:
        parts = {result: _micro(observation)}
    assert set(parts) <= set(RESULTS[result])
    return (patients[observation["subject"]["reference"]], result, _start_ms(observation)), parts


def _codes(part: Mapping[str, Any]) -> list[str]:
    return [coding["code"] for coding in part["code"]["coding"]]


def _micro(part: Mapping[str, Any]) -> int:
    return round(Fraction(str(part["valueQuantity"]["value"])) * 1_000_000)


def _start_ms(observation: Mapping[str, Any]) -> int:
    """Where the span begins: a Period says so; an instant is the end of the span."""
    width = timedelta(milliseconds=WINDOW_MS)
    if period := observation.get("effectivePeriod"):
        start, end = (datetime.fromisoformat(period[edge]) for edge in ("start", "end"))
        assert end - start == width
    else:
        start = datetime.fromisoformat(observation["effectiveDateTime"]) - width
    return round(start.timestamp() * 1000)
