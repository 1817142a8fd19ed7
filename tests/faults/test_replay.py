"""The same log gives the same windows, however it is read and whoever reads it, and no result is charted twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.topics import READINGS, WINDOWS
from testbed.brokers import Broker
from tests.conditions import wait_until
from tests.system.chart_checks import assert_chart_is_true, sandbox_observations
from tests.system.ehrs import SandboxProcess, sandbox_process
from tests.system.installation import Installation, Worker
from tests.system.player import RecordingPlayer
from tests.system.recording import Recording, record

LONGER_THAN_IDLE = 550
"""So many messages take the player longer than a device may be silent before its windows close."""


@pytest.fixture
def ehr(tmp_path: Path) -> Iterator[SandboxProcess]:
    with sandbox_process("fhir", tmp_path) as process:
        yield process


@pytest.fixture
def installation(broker: Broker, topic_prefix: str, tmp_path: Path, ehr: SandboxProcess) -> Iterator[Installation]:
    with Installation(broker.bootstrap_servers, topic_prefix, tmp_path / "site", ehr.section) as installed:
        yield installed


@pytest.fixture
def player(broker: Broker, topic_prefix: str) -> Iterator[RecordingPlayer]:
    with RecordingPlayer(broker.bootstrap_servers, topic_prefix) as network:
        yield network


def test_a_log_read_three_times_in_other_batches_by_other_workers_gives_the_same_bytes_and_no_second_observation(
    installation: Installation, player: RecordingPlayer, ehr: SandboxProcess
) -> None:
    recording = record(4, devices=12, seconds=60, a_second=10)
    player.admit(recording)
    ehr.admit(recording.patients)
    player.send(recording.messages)

    worker, *_ = installation.start("telemetry", "clinical", "delivery")
    assert_settled_and_true(installation, recording, ehr)
    as_recorded = installation.windows()
    worker.stop()

    installation.forget_telemetry()
    since = installation.ends(WINDOWS)
    [killed] = installation.start("telemetry", batch_records=1)
    wait_until(lambda: killed.metric("windows_total") > 0, what="windows of the second reading")
    killed.kill()
    assert len(installation.windows(since)) < len(as_recorded), "it was to be killed in the middle"
    [successor] = installation.start("telemetry", batch_records=50)
    installation.wait_until_settled(recording)
    assert installation.windows(since) == as_recorded
    successor.stop()

    installation.forget_telemetry()
    since = installation.ends(WINDOWS)
    pair = installation.start("telemetry", "telemetry", batch_records=2)
    wait_until(lambda: all(each.metric("windows_total") > 0 for each in pair), what="windows of both workers")
    assert len(installation.windows(since)) < len(as_recorded), "one is to leave in the middle"
    pair[0].stop()
    installation.wait_until_settled(recording)
    assert installation.windows(since) == as_recorded

    installation.wait_until_taken("clinical", WINDOWS)
    assert_settled_and_true(installation, recording, ehr)
    installation.stop_workers()
    installation.assert_no_canary(recording)


def test_telemetry_workers_that_join_leave_and_die_under_load_lose_nothing_and_change_nothing(
    installation: Installation, player: RecordingPlayer, ehr: SandboxProcess
) -> None:
    recording = record(9, devices=12, seconds=240)
    player.admit(recording)
    ehr.admit(recording.patients)
    [first, *_] = installation.start("telemetry", "clinical", "delivery")

    player.play(recording.messages)
    player.go_on(120)
    [second] = installation.start("telemetry")
    wait_until(lambda: second.metric("windows_total") > 0, what="windows of the worker that joined")
    first.stop()
    [third] = installation.start("telemetry")
    wait_until(lambda: third.metric("windows_total") > 0, what="windows of the third worker")
    second.kill()
    player.finish()
    assert_settled_and_true(installation, recording, ehr)
    under_load = installation.windows()
    installation.stop_workers()
    installation.assert_no_canary(recording)

    installation.forget_telemetry()
    since = installation.ends(WINDOWS)
    installation.start("telemetry", "clinical")
    installation.wait_until_settled(recording)
    assert installation.windows(since) == under_load
    installation.wait_until_taken("telemetry", READINGS)


def test_a_worker_that_was_frozen_until_another_took_over_does_no_harm_when_it_thaws(
    installation: Installation, player: RecordingPlayer, ehr: SandboxProcess
) -> None:
    recording = record(8, devices=12, seconds=240)
    player.admit(recording)
    ehr.admit(recording.patients)
    pair = installation.start("telemetry", "telemetry", "clinical", "delivery")[:2]

    player.play(recording.messages)
    for frozen, other in (pair, pair[::-1]):
        wait_until(lambda: all(each.metric("windows_total") > 0 for each in pair), what="windows of both workers")
        frozen.freeze()
        try:
            player.go_on(LONGER_THAN_IDLE)
            wait_for_more_windows(other)
        finally:
            frozen.thaw()
    player.finish()
    assert_settled_and_true(installation, recording, ehr)
    assert len(installation.windows()) == len(recording.windows())


def test_partitions_that_move_before_any_window_has_closed_are_read_from_their_beginning(
    installation: Installation, broker: Broker, topic_prefix: str, ehr: SandboxProcess
) -> None:
    recording = record(6, devices=12, seconds=60)
    with RecordingPlayer(broker.bootstrap_servers, topic_prefix, second_s=1.0) as slow_player:
        slow_player.admit(recording)
        ehr.admit(recording.patients)
        [first, *_] = installation.start("telemetry", "clinical", "delivery")
        slow_player.play(recording.messages)
        wait_until(lambda: first.metric("open_readings") > 0, what="readings in windows")
        [second] = installation.start("telemetry")
        wait_until(lambda: second.metric("open_readings") > 0, what="readings at the second worker")
        second.stop()
        slow_player.finish()
    assert_settled_and_true(installation, recording, ehr)


def wait_for_more_windows(worker: Worker) -> None:
    before = worker.metric("windows_total")
    wait_until(lambda: worker.metric("windows_total") > before, what="more windows")


def assert_settled_and_true(installation: Installation, recording: Recording, ehr: SandboxProcess) -> None:
    installation.wait_until_settled(recording)
    installation.assert_accounts_for(recording)
    assert_chart_is_true(sandbox_observations(ehr.origin), recording)
