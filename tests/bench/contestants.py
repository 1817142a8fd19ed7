"""Who takes the topic of readings in a benchmark: each started as one process, awaited, and ended."""

from __future__ import annotations

import itertools
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka.admin import AdminClient

from adapters.kafka.topics import create_or_verify
from schemas.topics import LATE_READINGS, PROGRESS, QUARANTINE, READINGS, WINDOWS
from testbed.servers import java
from testbed.servers.process import ServerProcess
from tests.bench.arithmetic import Run
from tests.bench.processes import THIS_CHECKOUT, start_role, worker_environment
from tests.bench.servers import PARTITIONS
from tests.conditions import wait_until

VITALWIRE = "vitalwire"
BESIDE = "the checkout beside it"
PLAIN_FAUST = "plain faust"
STREAMS = {"kafka streams, 1 thread": 1, "kafka streams, 2 threads": 2}
GROUP = "vitalwire-telemetry"
TAKES_AT_MOST_S = 900.0
ENDS_WITHIN_S = 60.0
_OUTPUTS = (WINDOWS, LATE_READINGS, QUARANTINE, PROGRESS)
_numbers = itertools.count(1)


class Contest:
    """Runs contestants over the filled topic of one broker."""

    def __init__(self, bootstrap_servers: str, directory: Path, beside: Path = THIS_CHECKOUT) -> None:
        self._bootstrap_servers, self._directory = bootstrap_servers, directory
        self._checkouts = {VITALWIRE: THIS_CHECKOUT, BESIDE: beside}
        self.environment = worker_environment(bootstrap_servers, directory)

    def run(self, contestant: str, readings: int) -> Run:
        """One run from an empty start to this many readings taken."""
        if contestant in self._checkouts:
            forget(self._bootstrap_servers)
        with self._started(contestant, readings) as (process, file):
            process.wait_until(file.exists, timeout_s=TAKES_AT_MOST_S)
            found = json.loads(file.read_text())
        return Run(contestant, found["readings"], found["seconds"], found["cpu_seconds"])

    @contextmanager
    def _started(self, contestant: str, readings: int) -> Iterator[tuple[ServerProcess, Path]]:
        number = next(_numbers)
        file, log = self._directory / f"run-{number}.json", self._directory / f"run-{number}.log"
        state = self._directory / f"state-{number}"
        if contestant in self._checkouts:
            process = start_role(
                "telemetry",
                self.environment,
                self._directory,
                file,
                str(readings),
                checkout=self._checkouts[contestant],
            )
        else:
            command = self._command(contestant, readings, state, file)
            process = ServerProcess(contestant, command, log_file=log)
        try:
            yield process, file
        finally:
            # in order, so that its group has no member left
            process.stop() if contestant in self._checkouts else process.kill()
            shutil.rmtree(state, ignore_errors=True)

    def _command(self, contestant: str, readings: int, state: Path, file: Path) -> Sequence[str]:
        if contestant == PLAIN_FAUST:
            about = [self._bootstrap_servers, READINGS.name, str(readings), str(file)]
            return [sys.executable, "-m", "tests.bench.plain_faust", *about]
        program = [java.java_command(), "-cp", f"{java.jars('kafka-streams-baseline')}/*"]
        about = [self._bootstrap_servers, READINGS.name, str(readings), str(STREAMS[contestant]), str(state), str(file)]
        return [*program, "vitalwire.local.KafkaStreamsBaseline", *about]


def forget(bootstrap_servers: str) -> None:
    """Reset the telemetry role: no committed offsets, no progress, nothing produced."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    known = {group.group_id for group in admin.list_consumer_groups().result().valid}
    if GROUP in known:
        admin.delete_consumer_groups([GROUP])[GROUP].result()
    names = [spec.name for spec in _OUTPUTS]
    for deleted in admin.delete_topics(names, operation_timeout=ENDS_WITHIN_S).values():
        deleted.result()
    wait_until(lambda: not set(names) & set(admin.list_topics(timeout=10).topics), ENDS_WITHIN_S, what="deletion")
    create_or_verify(bootstrap_servers, partitions=PARTITIONS, only=_OUTPUTS)
