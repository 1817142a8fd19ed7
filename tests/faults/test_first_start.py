"""The first start on a machine: everything is compiled before the worker joins its group, and it says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from schemas.heartbeats import Heartbeat
from schemas.topics import HEARTBEATS, READINGS
from testbed.brokers import Broker
from tests.conditions import wait_until
from tests.system.bedside import SECTION, Bedside, frame, reading
from tests.system.installation import Installation

COMPILED_WITHIN_S = 300.0
NO_GROUP_YET = (
    KafkaError.GROUP_ID_NOT_FOUND,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
)


@pytest.fixture
def bedside(broker: Broker, topic_prefix: str, tmp_path: Path) -> Iterator[Bedside]:
    site = tmp_path / "site"
    with Installation(broker.bootstrap_servers, topic_prefix, site, SECTION, idle_s=1) as installed:
        yield Bedside(installed)


def machine_code(directory: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in directory.rglob("*.nbc")}


def members(installation: Installation) -> int:
    """How many workers are in the telemetry role's group."""
    admin, group = AdminClient({"bootstrap.servers": installation.bootstrap_servers}), "vitalwire-telemetry"
    try:
        described = admin.describe_consumer_groups([installation.prefix + group])[installation.prefix + group]
        return len(described.result().members)
    except KafkaException as refused:
        if refused.args[0].code() in NO_GROUP_YET:
            return 0
        raise


@pytest.mark.long
def test_a_worker_compiles_before_it_joins_its_group_and_nothing_afterwards(bedside: Bedside, tmp_path: Path) -> None:
    installation, cache = bedside.installation, tmp_path / "cache"
    installation.environment["NUMBA_CACHE_DIR"] = str(cache)
    bedside.pair("d", "p")
    bedside.send(
        reading("d", 1), reading("d", 1), reading("d", 2), reading("d", 2, 90), frame("d", range(3, 9)), b"none"
    )

    worker = installation.start_without_waiting("telemetry")
    wait_until(lambda: worker.health() == (503, "not ready: compiling\n"), 60, what="a worker that compiles")
    joined: list[int] = []

    def ready() -> bool:
        joined.append(members(installation))
        return worker.health()[0] == 200

    wait_until(ready, COMPILED_WITHIN_S, what="a worker that is ready")
    compiled = machine_code(cache)
    assert compiled
    assert not any(joined[:-1]), "it was in its group while it compiled"
    wait_until(lambda: members(installation) == 1, what="a worker in its group")
    beats = [Heartbeat.model_validate_json(r.value or b"") for r in installation.records(HEARTBEATS)]
    assert (beats[0].ready, beats[0].detail) == (False, {"waits_for": "compiling"})

    bedside.pair("d", "q")
    bedside.send(*(reading("d", second) for second in range(20, 40)), reading("d", 3))
    installation.wait_until_taken("telemetry", READINGS)
    assert worker.metric("windows_total") > 0
    assert machine_code(cache) == compiled
