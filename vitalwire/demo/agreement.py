"""Whether the EHR holds exactly the expected results: every Observation is recomputed from the readings as sent.

Pure, and independent of the pipeline: it knows the readings, the configuration, and what the EHR's own API returned.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

from schemas.config import Config, Vital
from schemas.fixed_point import to_micro
from schemas.instants import epoch_ms, rfc3339_from_ms
from schemas.vitals import PANEL_CODES, PANELS
from schemas.window import Window
from testbed.ward.sending import Measured

Truth = dict[tuple[str, str, int], list[Measured]]
"""(patient, vital, start of the window in ms) → what was measured, by time."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """The number of Observations at the EHR, how many are right, and the problems of the others, without patient data."""

    observations: int
    right: int
    problems: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def truth_of(measured: Iterable[Measured], config: Config) -> Truth:
    """The readings that belong in windows, by window."""
    truth: Truth = defaultdict(list)
    for m in sorted(measured, key=lambda m: m.time_ms):
        width_ms = config.vitals[m.type].window
        truth[m.patient_id, m.type, m.time_ms // width_ms * width_ms].append(m)
    return dict(truth)


def compare(
    observations: Sequence[Mapping[str, Any]], patients: Mapping[str, str], truth: Truth, config: Config, charted: int
) -> Agreement:
    """Check count, patient, vital, time and value of every Observation. `patients`: subject id → patient."""
    problems = []
    if len(observations) != charted:
        problems.append(f"the ledger says {charted} were charted, the EHR holds {len(observations)}")
    seen: set[tuple[str, str, int]] = set()
    right = 0
    for observation in observations:
        wrong = _wrong(observation, patients, truth, config, seen)
        right += wrong is None
        if wrong is not None:
            problems.append(f"Observation {observation.get('id', '?')}: {wrong}")
    return Agreement(len(observations), right, tuple(problems))


def window_problems(windows: Iterable[Window], truth: Truth, config: Config) -> list[str]:
    """Every window recomputed from the readings as sent: none missing, none twice, count and statistic the same."""
    found = {_place(window): window for window in windows if window.revision == 0}
    problems = [_window_problem(place, found.get(place), members, config) for place, members in truth.items()]
    problems += [f"{_named(place)}: a window of readings that were never sent" for place in found.keys() - truth.keys()]
    return [problem for problem in problems if problem is not None]


def _place(window: Window) -> tuple[str, str, int]:
    return window.patient_id, window.type, epoch_ms(window.start)


def _named(place: tuple[str, str, int]) -> str:
    return f"{place[1]} at {rfc3339_from_ms(place[2])}"


def _window_problem(
    place: tuple[str, str, int], window: Window | None, members: Sequence[Measured], config: Config
) -> str | None:
    if window is None:
        return f"{_named(place)}: {len(members)} readings without a window"
    vital = config.vitals[window.type]
    if window.count != len(members):
        return f"{_named(place)}: the window counts {window.count} readings, {len(members)} were sent"
    if to_micro(Fraction(str(getattr(window, vital.statistic)))) != statistic_micro(members, vital):
        return f"{_named(place)}: the {vital.statistic} is not that of the readings"
    return None


def _wrong(
    observation: Mapping[str, Any],
    patients: Mapping[str, str],
    truth: Truth,
    config: Config,
    seen: set[tuple[str, str, int]],
) -> str | None:
    subject = str(observation.get("subject", {}).get("reference", "")).removeprefix("Patient/")
    patient = patients.get(subject)
    if patient is None:
        return "its patient must not be charted at this endpoint"
    values = _values(observation, config)
    if not values:
        return "its code is of no configured vital"
    for vital, value in values.items():
        start_ms = _start_ms(observation, config.vitals[vital])
        if (patient, vital, start_ms) in seen:
            return f"{vital} of this window is charted twice"
        seen.add((patient, vital, start_ms))
        members = truth.get((patient, vital, start_ms))
        if members is None:
            return f"this patient had no {vital} in this window"
        if statistic_micro(members, config.vitals[vital]) != to_micro(Fraction(str(value))):
            return f"{vital} differs from the statistic of the patient's readings in this window"
    return None


def statistic_micro(members: Sequence[Measured], vital: Vital) -> int:
    """The vital's configured statistic of readings in order of time, in millionths, rounded half to even."""
    values = [m.value_micro for m in members]
    ordered, middle = sorted(values), len(values) // 2
    if vital.statistic == "first":
        return values[0]
    if vital.statistic == "last":
        return values[-1]
    if vital.statistic in {"min", "max"}:
        return ordered[0] if vital.statistic == "min" else ordered[-1]
    if vital.statistic == "mean":
        return round(Fraction(sum(values), len(values)))
    return ordered[middle] if len(values) % 2 else round(Fraction(ordered[middle - 1] + ordered[middle], 2))


def _values(observation: Mapping[str, Any], config: Config) -> dict[str, float]:
    """Vital → charted value; the components of a panel one by one, those with a value."""
    codes = _codes(observation)
    for panel, code in PANEL_CODES.items():
        if code.code in codes:
            parts = [_single(part, config, PANELS[panel]) for part in observation.get("component", [])]
            return {vital: value for part in parts for vital, value in part.items()}
    return _single(observation, config, tuple(config.vitals))


def _single(part: Mapping[str, Any], config: Config, among: Sequence[str]) -> dict[str, float]:
    codes = _codes(part)
    quantity = part.get("valueQuantity")
    for vital in among:
        if quantity is not None and codes & {code.code for code in config.vital_type(vital).codes}:
            return {vital: quantity["value"]}
    return {}


def _codes(part: Mapping[str, Any]) -> set[str]:
    return {coding.get("code", "") for coding in part.get("code", {}).get("coding", [])}


def _start_ms(observation: Mapping[str, Any], vital: Vital) -> int:
    """Where the window began: the start of the Period, or the window's length before the single instant given."""
    period = observation.get("effectivePeriod")
    if period is not None:
        return epoch_ms(datetime.fromisoformat(period["start"]))
    end = datetime.fromisoformat(observation["effectiveDateTime"])
    return epoch_ms(end - timedelta(milliseconds=vital.window))
