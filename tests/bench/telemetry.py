"""The telemetry role beside Kafka Streams and plain Faust: the same topic, the same broker, taking turns."""

from __future__ import annotations

from schemas.topics import LATE_READINGS, QUARANTINE, WINDOWS
from tests.bench.arithmetic import Run, alternating, best, by_contestant
from tests.bench.contestants import PLAIN_FAUST, STREAMS, VITALWIRE, Contest
from tests.bench.offsets import records
from tests.bench.plan import BenchResult, Plan, raw
from tests.bench.readings import fill
from tests.bench.servers import kafka

MOST_FOR_FAUST = 150_000
"""Plain Faust takes fewer readings, lest everybody wait for it; its rate does not depend on how many."""


def measure(plan: Plan) -> BenchResult:
    """Readings a second and a CPU second of each contestant, and the ratios."""
    with kafka(plan.directory) as bootstrap_servers:
        fill(bootstrap_servers, plan)
        contest = Contest(bootstrap_servers, plan.directory)
        runs: list[tuple[int, Run]] = []
        windows: list[int] = []
        turns = alternating([VITALWIRE, *STREAMS, PLAIN_FAUST], plan.rounds + 1)
        for turn, contestant in plan.each("telemetry", turns, lambda at: f"{at[1]}, {_named(at[0])}"):
            readings = min(plan.readings, MOST_FOR_FAUST) if contestant == PLAIN_FAUST else plan.readings
            runs.append((turn, contest.run(contestant, readings)))
            if contestant == VITALWIRE:
                windows.append(_sound(bootstrap_servers))
    return _found([run for turn, run in runs if turn > 0], windows)


def _named(turn: int) -> str:
    return f"round {turn}" if turn else "warming up"


def _sound(bootstrap_servers: str) -> int:
    """Windows produced. A run that quarantines readings would be fast for the wrong reason."""
    for topic in (QUARANTINE, LATE_READINGS):
        if records(bootstrap_servers, topic):
            raise SystemExit(f"the telemetry role quarantined readings of the benchmark: see {topic.name}")
    return records(bootstrap_servers, WINDOWS)


def _found(runs: list[Run], windows: list[int]) -> BenchResult:
    summaries = by_contestant(runs)
    ours, streams = summaries[VITALWIRE], best(summaries[name] for name in STREAMS)
    results = {
        "readings_per_s": round(ours.per_s),
        "per_cpu_s": round(ours.per_cpu_s),
        "vs_kafka_streams": round(ours.per_s / streams.per_s, 3),
        "vs_kafka_streams_cpu": round(ours.per_cpu_s / streams.per_cpu_s, 3),
        "vs_faust": round(ours.per_s / summaries[PLAIN_FAUST].per_s, 2),
        "windows_in_a_run": windows,
        "contestants": {
            name: {"per_s": round(s.per_s), "per_cpu_s": round(s.per_cpu_s), "spread": round(s.spread, 3)}
            for name, s in summaries.items()
        },
    }
    return BenchResult({"telemetry": results}, raw(runs))
