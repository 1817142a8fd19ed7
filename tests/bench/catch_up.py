"""The telemetry worker killed by kill -9 half-way through the topic, and started again: how long until it has caught up."""

from __future__ import annotations

import json
from pathlib import Path
from time import perf_counter
from typing import Any

from schemas.topics import LATE_READINGS, QUARANTINE
from tests.bench.arithmetic import Run, summary
from tests.bench.contestants import GROUP, TAKES_AT_MOST_S, forget
from tests.bench.offsets import left, records
from tests.bench.plan import BenchResult, Plan
from tests.bench.processes import start_role, worker_environment
from tests.bench.readings import fill
from tests.bench.servers import kafka


def measure(plan: Plan) -> BenchResult:
    """Seconds from the restart until the last reading is taken, of which most is waiting for the dead member's session."""
    with kafka(plan.directory) as bootstrap_servers:
        fill(bootstrap_servers, plan)
        environment = worker_environment(bootstrap_servers, plan.directory)
        rounds = []
        for number in plan.each("catching up", range(plan.rounds)):
            forget(bootstrap_servers)
            rounds.append(_round(number, plan, environment))
            if records(bootstrap_servers, QUARANTINE) or records(bootstrap_servers, LATE_READINGS):
                raise SystemExit("readings were quarantined after the restart that were not before")
    return _found(rounds)


def _round(number: int, plan: Plan, environment: dict[str, str]) -> dict[str, Any]:
    bootstrap_servers, first, second = (
        environment["VITALWIRE_KAFKA"],
        plan.directory / f"first-{number}.json",
        plan.directory / f"second-{number}.json",
    )
    worker = start_role("telemetry", environment, plan.directory, first, str(plan.readings // 2))
    try:
        worker.wait_until(first.exists, timeout_s=TAKES_AT_MOST_S)
    finally:
        worker.kill()
    behind = left(bootstrap_servers, GROUP)
    began = perf_counter()
    worker = start_role("telemetry", environment, plan.directory, second, str(behind))
    try:
        worker.wait_until(second.exists, timeout_s=TAKES_AT_MOST_S)
        seconds = perf_counter() - began
    finally:
        worker.stop()
    return {"behind": behind, "seconds": seconds, "taking": _taking(second)}


def _taking(file: Path) -> dict[str, float]:
    found: dict[str, float] = json.loads(file.read_text())
    return found


def _found(rounds: list[dict[str, Any]]) -> BenchResult:
    taking = [
        Run("caught up", took["readings"], took["seconds"], took["cpu_seconds"])
        for took in (found["taking"] for found in rounds)
    ]
    whole = [Run("whole", 1, found["seconds"], 1) for found in rounds]
    results = {
        "seconds": round(1 / summary(whole).per_s, 2),
        "readings_per_s": round(summary(taking).per_s),
        "readings_behind": [found["behind"] for found in rounds],
    }
    return BenchResult({"catch_up": results}, rounds)
