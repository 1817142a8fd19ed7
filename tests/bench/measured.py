"""A role of the product as a process of its own, with a stopwatch: `python -m tests.bench.measured ROLE FILE [READINGS]`.

It is what `vitalwire worker ROLE` runs, from the same environment, with the same watchdog, heartbeats and metrics. With
READINGS, FILE says how long the role took from its first record to that many. Without, FILE gets a line for each duration
that the role observes, exact where its histograms only have buckets.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from adapters.metrics import PrometheusObserver
from streams.runtime.batches import Batch
from streams.telemetry.role import TelemetryRole
from vitalwire.roles.registry import role_named
from vitalwire.settings import from_environment

Process = Callable[[TelemetryRole, Batch], Coroutine[Any, Any, None]]


class Stopwatch:
    """Runs from the first record processed to the last one wanted. CPU time is that of this process, user and system."""

    def __init__(self, wanted: int, file: Path) -> None:
        self._left = self._wanted = wanted
        self._file = file
        self._began: tuple[float, float] | None = None

    def begin(self) -> None:
        """Records are about to be processed."""
        if self._began is None:
            self._began = perf_counter(), process_time()

    def end(self, records: int) -> None:
        """So many were processed."""
        before, self._left = self._left, self._left - records
        if before > 0 >= self._left and self._began is not None:
            self._report(perf_counter() - self._began[0], process_time() - self._began[1])

    def _report(self, seconds: float, cpu_seconds: float) -> None:
        unfinished = self._file.with_suffix(".part")
        result = {"readings": self._wanted - self._left, "seconds": seconds, "cpu_seconds": cpu_seconds}
        unfinished.write_text(json.dumps(result))
        unfinished.rename(self._file)


def around(process: Process, watch: Stopwatch) -> Process:
    """A role's `process`, timed."""

    async def timed(role: TelemetryRole, batch: Batch) -> None:
        watch.begin()
        await process(role, batch)
        watch.end(len(batch.records))

    return timed


def keep_durations(file: Path) -> None:
    """Write down every duration observed, besides putting it into its histogram."""
    observe, lines = PrometheusObserver.seconds, file.open("a", buffering=1)

    def kept(self: PrometheusObserver, name: str, value_s: float, **labels: str) -> None:
        observe(self, name, value_s, **labels)
        lines.write(json.dumps({"name": name, "seconds": value_s}) + "\n")

    PrometheusObserver.seconds = kept  # type: ignore[method-assign]


def main(role: str, file: Path, readings: int | None) -> None:
    """Run the role until SIGTERM."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    if readings is None:
        keep_durations(file)
    else:
        TelemetryRole.process = around(TelemetryRole.process, Stopwatch(readings, file))  # type: ignore[method-assign, assignment]
    role_named(role).load()(from_environment())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else None)
