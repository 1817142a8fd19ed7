"""Kafka, the database and the EHR stopped, killed and started again under load: nothing lost, nothing twice, all accounted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from testbed.brokers import Broker, start_broker
from testbed.servers.hapi import HapiServer
from testbed.servers.postgresql import PostgresServer
from tests.system.chart_checks import assert_chart_is_true, sandbox_observations, searched_observations
from tests.system.ehrs import admit_to_fhir, sandbox_process
from tests.system.installation import Installation
from tests.system.player import RecordingPlayer
from tests.system.recording import Recording, record

ROLES = ("telemetry", "clinical", "delivery")
LONGER_THAN_AN_OUTAGE_S = 45
"""A broker that is away is silence of every device: shorter than the idle time, it makes nothing late."""
Observations = Callable[[], list[dict[str, Any]]]


class Server(Protocol):
    """What can be stopped in order, killed, and started again at its address."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def kill(self) -> None: ...


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    """Apache Kafka of this test's own, on its own disk directory."""
    with start_broker("apache", data_directory=tmp_path / "kafka", log_file=tmp_path / "kafka.log") as started:
        yield started


@pytest.fixture
def own_database(tmp_path: Path) -> Iterator[PostgresServer]:
    with PostgresServer(tmp_path / "postgresql.log") as server:
        yield server


@pytest.fixture
def own_hapi(tmp_path: Path) -> Iterator[HapiServer]:
    """HAPI FHIR that keeps what it accepted on disk."""
    with HapiServer(tmp_path / "hapi.log", database=str(tmp_path / "hapi-data")) as server:
        yield server


def endure(installation: Installation, player: RecordingPlayer, server: Server) -> None:
    """The server goes away twice while the player sends on, once in order and once by kill -9."""
    for end in (server.stop, server.kill):
        installation.go_on(10)
        end()
        player.go_on(60)
        server.start()


def see_it_through(installation: Installation, recording: Recording, observations: Observations) -> None:
    """Everything came to its end, and workers that met trouble did not end or tell of patients."""
    installation.wait_until_settled(recording)
    installation.assert_accounts_for(recording)
    assert_chart_is_true(observations(), recording)
    assert all(worker.is_running() for worker in installation.workers)
    installation.stop_workers()
    installation.assert_no_canary(recording)


def test_kafka_stopped_and_killed_under_load_loses_and_doubles_nothing(own_broker: Broker, tmp_path: Path) -> None:
    recording = record(71, devices=12, seconds=240)
    with (
        sandbox_process("epic", tmp_path) as ehr,
        Installation(
            own_broker.bootstrap_servers, "", tmp_path / "site", ehr.section, idle_s=LONGER_THAN_AN_OUTAGE_S
        ) as installation,
        RecordingPlayer(own_broker.bootstrap_servers, "") as player,
    ):
        player.admit(recording)
        ehr.admit(recording.patients)
        installation.start(*ROLES)
        player.play(recording.messages)
        endure(installation, player, own_broker)
        player.finish()
        see_it_through(installation, recording, lambda: sandbox_observations(ehr.origin))


def test_the_database_stopped_and_killed_under_load_loses_and_doubles_nothing(
    broker: Broker, topic_prefix: str, own_database: PostgresServer, tmp_path: Path
) -> None:
    recording = record(72, devices=12, seconds=240)
    database = own_database.create_database("ledger")
    with (
        sandbox_process("oracle-health", tmp_path) as ehr,
        Installation(broker.bootstrap_servers, topic_prefix, tmp_path / "site", ehr.section, database) as installation,
        RecordingPlayer(broker.bootstrap_servers, topic_prefix) as player,
    ):
        player.admit(recording)
        ehr.admit(recording.patients)
        installation.start(*ROLES)
        player.play(recording.messages)
        endure(installation, player, own_database)
        player.finish()
        see_it_through(installation, recording, lambda: sandbox_observations(ehr.origin))


def test_the_ehr_stopped_and_killed_under_load_loses_and_doubles_nothing(
    broker: Broker, topic_prefix: str, own_hapi: HapiServer, postgres: str, tmp_path: Path
) -> None:
    recording = record(73, devices=6, seconds=240)
    section = {"kind": "fhir", "base_url": own_hapi.base_url, "capabilities": {"conditional_create": True}}
    with (
        Installation(broker.bootstrap_servers, topic_prefix, tmp_path / "site", section, postgres) as installation,
        RecordingPlayer(broker.bootstrap_servers, topic_prefix, second_s=0.5) as player,
    ):
        player.admit(recording)
        admit_to_fhir(own_hapi.base_url, recording.patients)
        installation.start(*ROLES)
        player.play(recording.messages)
        endure(installation, player, own_hapi)
        player.finish()
        see_it_through(installation, recording, lambda: searched_observations(own_hapi.base_url, recording.patients))
