"""A whole installation whose ledger loses its last hour: what is lost is read again, and nothing is charted twice."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from adapters.kafka.topic_reader import KafkaTopicReader
from adapters.ledger import open_ledger
from adapters.ledger.engine import connect
from schemas.audit import AuditEvent
from schemas.operation import State
from schemas.topics import AUDIT, WINDOWS
from testbed.brokers import Broker
from testbed.servers.postgresql import PostgresServer
from tests.conditions import wait_until
from tests.faults.test_ledger_failover import either_of
from tests.system.chart_checks import sandbox_observations
from tests.system.ehrs import SandboxProcess, sandbox_process
from tests.system.installation import Installation
from tests.system.player import RecordingPlayer
from tests.system.recording import ENDPOINT, Recording, record
from vitalwire.settings import from_environment

WRITERS = ("clinical", "delivery")


@pytest.fixture
def ehr(tmp_path: Path) -> Iterator[SandboxProcess]:
    with sandbox_process("fhir", tmp_path) as process:
        yield process


@pytest.fixture
def player(broker: Broker, topic_prefix: str) -> Iterator[RecordingPlayer]:
    with RecordingPlayer(broker.bootstrap_servers, topic_prefix) as network:
        yield network


@pytest.fixture
def recording() -> Recording:
    return record(31, devices=12, seconds=120)


def use(installation: Installation, database: str) -> None:
    """From now on the workers find the ledger here."""
    installation.environment["VITALWIRE_DATABASE"] = database
    installation.settings = from_environment(installation.environment)
    installation.ledger.close()
    installation.ledger = open_ledger(database, installation.settings.ledger_encryption(), subscribers=())


def let_time_pass(installation: Installation) -> None:
    """As if nobody could be sending any more."""
    engine = connect(installation.settings.database)
    with engine.begin() as db:
        db.exec_driver_sql("UPDATE ledger_identity SET quiet_until_us = 0")
        for table in ("operations", "ordering_keys"):
            db.exec_driver_sql(f"UPDATE {table} SET due_us = 0 WHERE due_us IS NOT NULL")
    engine.dispose()


def first_half(installation: Installation, player: RecordingPlayer, recording: Recording, ehr: SandboxProcess) -> None:
    """Some results are in the chart, and the workers stopped."""
    player.admit(recording)
    ehr.admit(recording.patients)
    middle = len(recording.messages) // 2
    installation.start("telemetry", *WRITERS)
    player.send(recording.messages[:middle])
    installation.go_on(10)
    wait_until_caught_up(installation)
    for worker in installation.workers[1:]:
        worker.stop()


def all_charted(installation: Installation, player: RecordingPlayer, recording: Recording) -> None:
    player.send(recording.messages[len(recording.messages) // 2 :])
    installation.wait_until_charted(len(recording.results()))
    wait_until_caught_up(installation)


def wait_until_caught_up(installation: Installation) -> None:
    """The end is asked anew each time: windows still come."""
    wait_until(
        lambda: installation.committed("clinical", WINDOWS) == installation.ends(WINDOWS),
        90,
        what="clinical at the end",
    )


def observations(ehr: SandboxProcess) -> list[str]:
    """Every Observation in the chart, to the byte."""
    return sorted(json.dumps(one, sort_keys=True) for one in sandbox_observations(ehr.origin))


def see_it_recovered(installation: Installation, recording: Recording, ehr: SandboxProcess) -> None:
    """Read again, in doubt, at rest; then searched for, found, and charted once."""
    before = observations(ehr)
    wait_until(
        lambda: sum(installation.ledger.states()[ENDPOINT].values()) == len(recording.results()),
        90,
        what="every result in the ledger again",
    )
    states = installation.ledger.states()[ENDPOINT]
    assert set(states) == {State.SUCCEEDED, State.UNKNOWN}
    assert observations(ehr) == before
    let_time_pass(installation)
    installation.wait_until_settled(recording)
    assert installation.reconcile()["balanced"] is True
    assert installation.ledger.states() == {ENDPOINT: {State.SUCCEEDED: len(recording.results())}}
    assert observations(ehr) == before
    stored = KafkaTopicReader(installation.bootstrap_servers, prefix=installation.prefix).read(AUDIT)
    told = [AuditEvent.model_validate_json(one.value or b"") for one in stored]
    assert [event.action for event in told].count("ledger.went_back") == 1
    installation.stop_workers()
    installation.assert_no_canary(recording)


@pytest.mark.long
def test_a_failover_that_loses_commits_ends_the_workers_and_doubles_and_loses_nothing(
    broker: Broker,
    topic_prefix: str,
    tmp_path: Path,
    ehr: SandboxProcess,
    player: RecordingPlayer,
    recording: Recording,
):
    with PostgresServer(tmp_path / "primary.log") as primary:
        url = primary.create_database("ledger")
        with Installation(broker.bootstrap_servers, topic_prefix, tmp_path / "site", ehr.section, url) as installation:
            first_half(installation, player, recording, ehr)
            with primary.standby(tmp_path / "standby.log") as standby:
                use(installation, either_of(url, standby))
                ended = installation.start(*WRITERS)
                all_charted(installation, player, recording)
                primary.kill()
                standby.promote()
                wait_until(lambda: not any(worker.is_running() for worker in ended), 60, what="the workers' end")
                assert all("is not the one this worker started with" in worker.log_file.read_text() for worker in ended)
                use(installation, installation.settings.database)
                installation.start(*WRITERS)
                see_it_recovered(installation, recording, ehr)


@pytest.mark.long
def test_a_restored_copy_of_the_same_database_is_known_by_kafka_and_doubles_and_loses_nothing(
    broker: Broker,
    topic_prefix: str,
    tmp_path: Path,
    ehr: SandboxProcess,
    player: RecordingPlayer,
    recording: Recording,
):
    with Installation(broker.bootstrap_servers, topic_prefix, tmp_path / "site", ehr.section) as installation:
        first_half(installation, player, recording, ehr)
        database = installation.settings.database
        file, backup = tmp_path / "site" / "ledger.sqlite", tmp_path / "backup"
        with closing(sqlite3.connect(file)) as db:
            db.execute("VACUUM INTO ?", (str(backup),))
        installation.start(*WRITERS)
        all_charted(installation, player, recording)
        for worker in installation.workers[-2:]:
            worker.stop()
        installation.ledger.close()
        for journal in ("-wal", "-shm"):
            Path(f"{file}{journal}").unlink(missing_ok=True)
        shutil.copy(backup, file)
        with closing(sqlite3.connect(file)) as db:
            (mark,) = db.execute("SELECT identity FROM ledger_identity").fetchone()
        Path(f"{file}.mark").write_text(mark)
        use(installation, database)
        installation.start(*WRITERS)
        see_it_recovered(installation, recording, ehr)
