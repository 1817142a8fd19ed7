"""The telemetry role of this checkout beside that of another one: does a change cost speed? The same topic, taking turns."""

from __future__ import annotations

from statistics import median

from tests.bench.arithmetic import Run, alternating, by_contestant, lower_bound, ratios
from tests.bench.contestants import BESIDE, VITALWIRE, Contest
from tests.bench.plan import BenchResult, Plan, raw
from tests.bench.readings import fill
from tests.bench.servers import kafka


def measure(plan: Plan) -> BenchResult:
    """Readings a CPU second of both, and the ratio of each round with the lower bound of its median."""
    assert plan.beside is not None
    with kafka(plan.directory) as bootstrap_servers:
        fill(bootstrap_servers, plan)
        contest = Contest(bootstrap_servers, plan.directory, plan.beside)
        runs: list[tuple[int, Run]] = []
        turns = alternating([VITALWIRE, BESIDE], plan.rounds + 1)
        for turn, contestant in plan.each("versions", turns, lambda at: f"round {at[0]}, {at[1]}"):
            runs.append((turn, contest.run(contestant, plan.readings)))
    counted = [(turn, run) for turn, run in runs if turn > 0]
    summaries = by_contestant(run for _, run in counted)
    of_rounds = ratios(counted, VITALWIRE, BESIDE)
    results = {
        "per_cpu_s": round(summaries[VITALWIRE].per_cpu_s),
        "per_cpu_s_beside": round(summaries[BESIDE].per_cpu_s),
        "per_cpu_s_ratio": round(median(of_rounds), 3),
        "lower_95": round(lower_bound(of_rounds), 3),
        "ratios": [round(ratio, 3) for ratio in of_rounds],
    }
    return BenchResult({"versions": results}, raw([run for _, run in counted]))
