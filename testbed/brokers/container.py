"""Apache Kafka in a container, where a container engine runs. The host port is fixed, so that a restart keeps it."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from schemas.errors import Misconfigured
from testbed.brokers.broker import READY_TIMEOUT_S, Kind, StopsOnExit, answers_within
from testbed.servers.process import free_port

IMAGE = "apache/kafka:4.1.0"
ENGINE_TIMEOUT_S = 1.5
INSIDE = 9092


@cache
def is_available() -> bool:
    """Whether testcontainers is installed and a container engine responds."""
    if find_spec("testcontainers") is None:
        return False
    docker = import_module("docker")  # comes with testcontainers, which is not there at run time
    try:
        client = docker.from_env(timeout=ENGINE_TIMEOUT_S)
        client.ping()
    except (docker.errors.DockerException, OSError):
        return False
    return True


class ContainerBroker(StopsOnExit):
    """Apache Kafka's own image, KRaft, one node."""

    kind: Kind = "container"

    def __init__(self) -> None:
        from testcontainers.core.container import DockerContainer  # noqa: PLC0415 (optional at run time)

        port = free_port()
        self.bootstrap_servers = f"127.0.0.1:{port}"
        container = DockerContainer(IMAGE)
        container.ports = {f"{INSIDE}/tcp": ("127.0.0.1", port)}
        for name, value in _environment(self.bootstrap_servers).items():
            container.with_env(name, value)
        self._definition = container
        self._container: Any = None

    def start(self) -> None:
        """Start it, or restart it with its data."""
        if self._container is None:
            self._container = self._definition.start().get_wrapped_container()
        else:
            self._container.start()
        if not answers_within(self.bootstrap_servers, READY_TIMEOUT_S):
            raise Misconfigured(
                f"Kafka in its container ({IMAGE}) does not respond. See `docker logs {self._container.short_id}`."
            )

    def stop(self) -> None:
        """Stop it; testcontainers removes it with its data when this process ends."""
        if self._container is not None:
            self._container.stop()

    def kill(self) -> None:
        """Kill it, as a crash would."""
        if self._container is not None:
            self._container.kill()


def _environment(address: str) -> dict[str, str]:
    return {
        "KAFKA_NODE_ID": "1",
        "KAFKA_PROCESS_ROLES": "broker,controller",
        "KAFKA_LISTENERS": f"PLAINTEXT://:{INSIDE},CONTROLLER://:9093",
        "KAFKA_ADVERTISED_LISTENERS": f"PLAINTEXT://{address}",
        "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "KAFKA_NUM_PARTITIONS": "4",
        "KAFKA_AUTO_CREATE_TOPICS_ENABLE": "false",
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
        "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
        "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_REPLICATION_FACTOR": "1",
        "KAFKA_SHARE_COORDINATOR_STATE_TOPIC_MIN_ISR": "1",
    }
