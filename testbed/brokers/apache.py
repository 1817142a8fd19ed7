"""Apache Kafka as one JVM (KRaft: broker and controller in one), from Maven artifacts.

Source: Apache Kafka 4.1 documentation, "KRaft" and "Broker Configs".
"""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import uuid
from pathlib import Path

from schemas.errors import Misconfigured
from testbed.brokers.broker import Kind, ProcessBroker
from testbed.servers import java
from testbed.servers.process import LOOPBACK, free_port

PROGRAM = "kafka"
DEFAULT_PARTITIONS = 4


def is_available() -> bool:
    """Whether Java 17 is installed, with the jars or the Maven that fetches them."""
    return java.is_available(PROGRAM)


class ApacheBroker(ProcessBroker):
    """Apache Kafka on a free loopback port; its log in the data directory survives restarts."""

    kind: Kind = "apache"
    name = "Apache Kafka"

    def __init__(self, data_directory: Path, log_file: Path, *, heap_mib: int = 512) -> None:
        self._logs = data_directory.resolve() / "kafka"
        self._properties = data_directory.resolve() / "kafka.properties"
        # the log names the controller by its port, so existing data keeps its ports
        port, self._controller_port = _recorded_ports(self._properties) or (free_port(), free_port())
        super().__init__(port, log_file)
        self._heap_mib = heap_mib

    def command(self) -> list[str]:
        """The JVM's command line, with storage formatted at the first start."""
        runtime = [java.java_command(), "-Dlog4j2.level=WARN", "-cp", f"{java.jars(PROGRAM)}/*"]
        if not (self._logs / "meta.properties").is_file():
            self._format(runtime)
        memory = [f"-Xms{self._heap_mib // 2}m", f"-Xmx{self._heap_mib}m"]
        return [runtime[0], *memory, *runtime[1:], "kafka.Kafka", str(self._properties)]

    def _format(self, runtime: list[str]) -> None:
        shutil.rmtree(self._logs, ignore_errors=True)
        self._logs.mkdir(parents=True)
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in self._settings().items()))
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
        tool = [
            "kafka.tools.StorageTool",
            "format",
            "--standalone",
            f"--cluster-id={cluster_id}",
            "-c",
            str(self._properties),
        ]
        done = subprocess.run(  # noqa: S603
            [runtime[0], *quick, *runtime[1:], *tool], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise Misconfigured(f"Apache Kafka could not format {self._logs}: {done.stderr.strip()[-500:]}")

    def _settings(self) -> dict[str, str | int]:
        controller = f"{LOOPBACK}:{self._controller_port}"
        return {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.bootstrap.servers": controller,
            "listeners": f"PLAINTEXT://{self.bootstrap_servers},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap_servers}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(self._logs),
            # a killed broker may come back only when its last session has ended; the default is 9 s
            "broker.session.timeout.ms": 3000,
            "broker.heartbeat.interval.ms": 500,
            "num.partitions": DEFAULT_PARTITIONS,
            # a topic made by accident would miss the settings its promises rest on (LogAppendTime, compaction)
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": 0,
            "offsets.topic.num.partitions": DEFAULT_PARTITIONS,
            "offsets.topic.replication.factor": 1,
            "transaction.state.log.num.partitions": DEFAULT_PARTITIONS,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
        }


def _recorded_ports(properties: Path) -> tuple[int, int] | None:
    if not properties.is_file():
        return None
    listeners = re.search(
        r"^listeners=PLAINTEXT://[\d.]+:(\d+),CONTROLLER://[\d.]+:(\d+)$", properties.read_text(), re.MULTILINE
    )
    return (int(listeners[1]), int(listeners[2])) if listeners else None
