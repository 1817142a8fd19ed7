"""One Vitalwire as a hospital runs it: topics, ledger, configuration, and each worker a process that can be killed."""

from __future__ import annotations

import itertools
import json
import secrets
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import orjson
import yaml
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from adapters.kafka.topic_reader import KafkaTopicReader
from adapters.kafka.topics import create_or_verify
from adapters.ledger import SqlLedger, migrate, open_ledger
from schemas.errors import RetryLater
from schemas.operation import State
from schemas.ports.kafka import ConsumedRecord
from schemas.topics import PROGRESS, WINDOWS, TopicSpec
from testbed.servers.process import free_port
from tests.conditions import wait_until
from tests.system.command import command_after, command_in_batches_of, vitalwire_command
from tests.system.recording import CANARY, ENDPOINT, GRACE_MS, STATISTICS, TENANT, WINDOW_MS, Recording
from tests.system.worker import Worker
from vitalwire.reconcile import reconciled
from vitalwire.settings import from_environment

PARTITIONS = 4
DRAIN_S = 150.0
T = TypeVar("T")
_numbers = itertools.count(1)


class Installation:
    """Topics with a prefix of their own, a ledger, and workers."""

    def __init__(
        self,
        bootstrap_servers: str,
        prefix: str,
        directory: Path,
        section: dict[str, Any],
        database: str | None = None,
        *,
        idle_s: int = 8,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.bootstrap_servers, self.prefix, self.directory = bootstrap_servers, prefix, directory
        self.workers: list[Worker] = []
        config = directory / "vitalwire.yaml"
        config.write_text(yaml.safe_dump(_configuration(section, idle_s)))
        self.environment = {
            "VITALWIRE_KAFKA": bootstrap_servers,
            "VITALWIRE_TOPIC_PREFIX": prefix,
            "VITALWIRE_SESSION_TIMEOUT_S": "6",
            "VITALWIRE_DATA": str(directory),
            "VITALWIRE_DATABASE": database or f"sqlite:///{directory / 'ledger.sqlite'}",
            "VITALWIRE_CONFIG": str(config),
            "VITALWIRE_IDENTITY_KEY_FILE": str(_key_file(directory / "identity.key")),
            "VITALWIRE_LEDGER_KEY_FILE": str(_key_file(directory / "ledger.key")),
        }
        self.settings = from_environment(self.environment)
        create_or_verify(bootstrap_servers, prefix, PARTITIONS)
        migrate(self.settings.database)
        self.ledger: SqlLedger = open_ledger(self.settings.database, self.settings.ledger_encryption(), subscribers=())

    # -- workers ------------------------------------------------------------------------------------------------------

    def start(self, *roles: str, batch_records: int | None = None, after: str | None = None) -> list[Worker]:
        """Workers of these roles, when all of them are ready; `after` this program, where one is given."""
        started = [self.start_without_waiting(role, batch_records, after) for role in roles]
        for worker in started:
            worker.wait_until_ready()
        return started

    def start_without_waiting(self, role: str, batch_records: int | None = None, after: str | None = None) -> Worker:
        """A worker that is not ready yet."""
        port = free_port()
        given = self.environment | {"VITALWIRE_METRICS_PORT": str(port)}
        if after is not None:
            command = command_after(after, "worker", role, environment=given)
        elif batch_records is not None:
            command = command_in_batches_of(batch_records, "worker", role, environment=given)
        else:
            command = vitalwire_command("worker", role, environment=given)
        worker = Worker(role, command, port, self.directory / f"{role}-{next(_numbers)}.log")
        self.workers.append(worker)
        return worker

    def stop_workers(self) -> None:
        """SIGTERM to all at once."""
        running = [worker for worker in self.workers if worker.is_running()]
        if running:
            with ThreadPoolExecutor(len(running)) as stopping:
                list(stopping.map(Worker.stop, running))

    # -- what has become of it ----------------------------------------------------------------------------------------

    def observations(self) -> int:
        """How many results the ledger knows to be in the chart."""
        return self.ledger.states().get(ENDPOINT, {}).get(State.SUCCEEDED, 0)

    def wait_until_charted(self, results: int) -> None:
        """Return when so many results are in the chart."""
        wait_until(_answered(lambda: self.observations() >= results), DRAIN_S, what=f"{results} results in the chart")

    def go_on(self, results: int) -> None:
        """Return when so many more are in the chart."""
        wait_until(_answered(self.ledger.states), DRAIN_S, what="an operation in the ledger")
        self.wait_until_charted(self.observations() + results)

    def wait_until_settled(self, recording: Recording) -> None:
        """Return when every measurement has come to its end."""
        try:
            self.wait_until_charted(len(recording.results()))
            wait_until(_answered(lambda: self._is_settled(recording)), DRAIN_S, what="the end of everything open")
        except AssertionError as slow:
            raise AssertionError(f"{slow}: {reconciled(self.settings, self.ledger)}") from None

    def _is_settled(self, recording: Recording) -> bool:
        report = reconciled(self.settings, self.ledger)
        placed = report.windows_not_published + report.quarantined_windows + report.windows_in_intents
        open_yet = report.unread + report.in_open_windows + report.pending + report.deferred + report.unknown
        return report.readings == recording.measurements and report.windows == placed and not open_yet

    def reconcile(self) -> dict[str, Any]:
        """What `vitalwire reconcile --json` prints; it must end with 0."""
        command = vitalwire_command("reconcile", "--json", environment=self.environment)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        return report

    def assert_accounts_for(self, recording: Recording) -> None:
        """`vitalwire reconcile` balances and has every count as the recording has it."""
        report = self.reconcile()
        windows = recording.windows()
        private = [place for place in windows if place[0] not in recording.consented]
        assert report["balanced"] is True, report
        assert report["readings"] == recording.measurements, report
        assert report["duplicates"] == recording.duplicates, report
        assert report["late"] == recording.late
        assert report["quarantined"] == dict(recording.quarantined) | {"no_consent": len(private)}
        assert report["windows"] == len(windows)
        assert report["intents"] == report["charted"] == len(recording.results())
        left = (
            "unread",
            "in_open_windows",
            "failed",
            "held",
            "pending",
            "deferred",
            "unknown",
            "operations_quarantined",
        )
        assert {name: report[name] for name in left} == dict.fromkeys(left, 0)

    def records(self, topic: TopicSpec) -> list[ConsumedRecord]:
        """A topic from its first record to its end."""
        return list(KafkaTopicReader(self.bootstrap_servers, prefix=self.prefix).read(topic))

    def windows(self, after: Mapping[int, int] | None = None) -> dict[str, bytes]:
        """Windows by id, of the records from these offsets on. One that came twice came with the same bytes."""
        found: dict[str, bytes] = {}
        for stored in self.records(WINDOWS):
            value = stored.value or b""
            if stored.offset >= (after or {}).get(stored.partition, 0):
                assert found.setdefault(orjson.loads(value)["window_id"], value) == value
        return found

    def ends(self, topic: TopicSpec) -> dict[int, int]:
        """Partition → the offset of the next record to come."""
        admin, name = AdminClient({"bootstrap.servers": self.bootstrap_servers}), topic.prefixed(self.prefix)
        asked = {TopicPartition(name, number): OffsetSpec.latest() for number in range(PARTITIONS)}
        return {at.partition: future.result().offset for at, future in admin.list_offsets(asked).items()}

    def wait_until_taken(self, role: str, topic: TopicSpec) -> None:
        """Return when the role has settled all that is on its topic."""
        ends = self.ends(topic)
        wait_until(lambda: self.committed(role, topic) == ends, DRAIN_S, what=f"{role} having taken {topic.name}")

    def committed(self, role: str, topic: TopicSpec) -> dict[int, int]:
        """Partition → the offset the role has settled; 0 where none is."""
        admin, group = AdminClient({"bootstrap.servers": self.bootstrap_servers}), f"{self.prefix}vitalwire-{role}"
        asked = [TopicPartition(topic.prefixed(self.prefix), number) for number in range(PARTITIONS)]
        futures = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group, asked)])
        return {at.partition: max(at.offset, 0) for at in futures[group].result().topic_partitions}

    def assert_no_canary(self, recording: Recording) -> None:
        """No log and no metrics page of any worker has a name or a value of the recording, though the windows have them."""
        assert all(CANARY.encode() in window for window in self.windows().values())
        texts = {str(worker.log_file): worker.log_file.read_text(errors="replace") for worker in self.workers}
        texts |= {f"metrics {worker.log_file}": "\n".join(worker.pages) for worker in self.workers}
        found = {name for name, text in texts.items() for canary in recording.canaries() if canary in text}
        assert found == set()

    # -- starting over ------------------------------------------------------------------------------------------------

    def forget_place(self, role: str) -> None:
        """As after a disaster: the role's committed offsets are lost. No worker of it may run."""
        admin, group = AdminClient({"bootstrap.servers": self.bootstrap_servers}), f"{self.prefix}vitalwire-{role}"
        wait_until(lambda: _is_deleted(admin, group), what="the end of the consumer group")

    def forget_telemetry(self) -> None:
        """The same for the telemetry role, with the progress it keeps on Kafka."""
        self.forget_place("telemetry")
        admin, progress = AdminClient({"bootstrap.servers": self.bootstrap_servers}), PROGRESS.prefixed(self.prefix)
        admin.delete_topics([progress])[progress].result()
        wait_until(lambda: progress not in admin.list_topics(timeout=10).topics, what="the end of the progress topic")
        create_or_verify(self.bootstrap_servers, self.prefix, PARTITIONS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_workers()
        self.ledger.close()


def _configuration(section: dict[str, Any], idle_s: int) -> dict[str, Any]:
    pace = {"window": f"{WINDOW_MS}ms", "grace": f"{GRACE_MS}ms", "idle": f"{idle_s}s"}
    return {
        "tenants": {TENANT: {"endpoints": [ENDPOINT]}},
        "endpoints": {ENDPOINT: section},
        "vitals": {vital: pace | {"statistic": statistic} for vital, statistic in STATISTICS.items()},
        "telemetry": {"max_age": "36500d"},
    }


def _key_file(path: Path) -> Path:
    path.touch(mode=0o600)
    path.write_text(secrets.token_hex(32), encoding="ascii")
    return path


def _answered(ask: Callable[[], T]) -> Callable[[], T | None]:
    """The answer, or None while a broker or database is away."""

    def asks() -> T | None:
        try:
            return ask()
        except RetryLater:
            return None

    return asks


def _is_deleted(admin: AdminClient, group: str) -> bool:
    """Whether the group is gone; one whose member was killed lives until its session ends."""
    try:
        admin.delete_consumer_groups([group])[group].result()
    except KafkaException as refused:
        return bool(refused.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND)
    return True
