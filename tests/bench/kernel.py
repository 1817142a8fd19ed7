"""The window kernel alone, without Kafka: decode, admit, pair, dedupe, window and close, one partition on one core."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from time import perf_counter, process_time

import orjson

from schemas.config import Config
from streams.runtime.batches import Record
from streams.telemetry.kernel.partition import PartitionKernel
from streams.telemetry.kernel.vital_table import VitalTable
from tests.bench.arithmetic import Run, alternating, by_contestant
from tests.bench.plan import BenchResult, Plan, raw
from tests.bench.readings import began_ms, event_seconds, pairings, reading

MOST_READINGS = 1_000_000
BATCH = 10_000
BATCHES_A_PASS = 8
"""At a million readings a second and four passes a second, the worker takes some 250,000 between two passes of a partition
of four: about so many batches.
"""
EPOCH, RFC3339 = "time as epoch milliseconds", "time as RFC 3339"


def measure(plan: Plan) -> BenchResult:
    """Readings a second with either form of time."""
    readings = min(plan.readings, MOST_READINGS)
    logs = {EPOCH: _log(readings), RFC3339: _rfc3339(_log(readings))}
    runs: list[tuple[int, Run]] = []
    for turn, form in plan.each("kernel", alternating(list(logs), plan.rounds + 1), lambda at: at[1]):
        runs.append((turn, _run(form, logs[form])))
    counted = [run for turn, run in runs if turn > 0]
    summaries = by_contestant(counted)
    results = {
        "readings_per_s": round(summaries[EPOCH].per_s),
        "per_cpu_s": round(summaries[EPOCH].per_cpu_s),
        "rfc3339_readings_per_s": round(summaries[RFC3339].per_s),
    }
    return BenchResult({"kernel": results}, raw(counted))


def _log(readings: int) -> list[Record]:
    """Records that arrived as they were measured."""
    first_ms = began_ms(readings)
    a_second = readings / event_seconds(readings)
    return [
        Record(at, first_ms + 1000 + int(at / a_second * 1000), None, reading(at, first_ms)[1], ())
        for at in range(readings)
    ]


def _rfc3339(log: Sequence[Record]) -> list[Record]:
    written = []
    for record in log:
        body = orjson.loads(record.value or b"")
        measured = datetime.fromtimestamp(body["time"] / 1000, UTC).isoformat(timespec="milliseconds")
        body["time"] = measured.replace("+00:00", "Z")
        written.append(record._replace(value=orjson.dumps(body)))
    return written


def _closed(kernel: PartitionKernel) -> int:
    windows, more = 0, True
    while more:
        closed = kernel.close()
        windows, more = windows + len(closed.windows), closed.more
    return windows


def _run(form: str, log: Sequence[Record]) -> Run:
    known = {(pairing.tenant_id, pairing.device_id): pairing for pairing in pairings()}
    kernel = PartitionKernel("telemetry.readings", 0, VitalTable(Config()), b"benchmark")
    opened = windows = 0
    began, cpu_began = perf_counter(), process_time()
    for number, start in enumerate(range(0, len(log), BATCH), 1):
        opened += kernel.ingest(log[start : start + BATCH], known, 1).opened
        if number % BATCHES_A_PASS == 0:
            windows += _closed(kernel)
    run = Run(form, len(log), perf_counter() - began, process_time() - cpu_began)
    if opened != len(log) or not windows:
        raise SystemExit("the kernel did not window every reading of the benchmark")
    return run
