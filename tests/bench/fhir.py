"""Closed windows to Observations: rendered by template, then checked for structure, US Core and fidelity. One core."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter, process_time

from mappings.observation.mapper import ObservationMapper
from schemas.config import Config
from schemas.vitals import BUILT_IN
from schemas.window import Window
from tests.bench.arithmetic import Run, summary
from tests.bench.plan import BenchResult, Plan, raw
from tests.doubles.windows import pressure, window

ENDPOINT = "north-fhir"
RESULTS = 10_000
VITALS = (("heart_rate", 72.5), ("spo2", 97.0), ("respiratory_rate", 16.0), ("body_temperature", 37.1))


def measure(plan: Plan) -> BenchResult:
    """Observations a second of CPU time: four vitals and blood pressure in equal parts."""
    config = Config.model_validate({"endpoints": {ENDPOINT: {"kind": "fhir", "base_url": "http://127.0.0.1/fhir"}}})
    mapper, groups = ObservationMapper(config, ENDPOINT), [_group(at) for at in range(RESULTS)]
    runs = [_run(mapper, groups) for _ in plan.each("fhir", range(plan.rounds + 1))][1:]
    return BenchResult({"fhir_per_s": round(summary(runs).per_cpu_s)}, raw(runs))


def _group(at: int) -> Sequence[Window]:
    patient, minute, kind = f"p-{at % 500}", at // 500, at % (len(VITALS) + 1)
    if kind == len(VITALS):
        return pressure(110 + at % 30, 70 + at % 15, patient=patient, minute=minute)
    vital, value = VITALS[kind]
    about = {"type": vital, "unit": BUILT_IN[vital].unit, "device_id": f"{vital}-monitor"}
    return [window(value=value + at % 3, patient=patient, minute=minute, **about)]


def _run(mapper: ObservationMapper, groups: Sequence[Sequence[Window]]) -> Run:
    began, cpu_began = perf_counter(), process_time()
    for group in groups:
        mapper.render(group, group[0].patient_id)
    return Run("render", len(groups), perf_counter() - began, process_time() - cpu_began)
