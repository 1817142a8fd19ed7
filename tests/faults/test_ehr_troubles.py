"""An EHR that accepts and does not answer, is busy or breaks connections: under load every result is charted exactly once."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed.brokers import Broker
from tests.system.chart_checks import assert_chart_is_true, sandbox_observations
from tests.system.ehrs import sandbox_process
from tests.system.installation import Installation
from tests.system.player import RecordingPlayer
from tests.system.recording import record

TROUBLES = (
    {"kind": "commit_then_timeout", "count": 6, "after": 20},
    {"kind": "commit_then_reset", "probability": 0.03},
    {"kind": "commit_then_error", "probability": 0.03},
    {"kind": "unavailable", "probability": 0.03, "retry_after": "0"},
    {"kind": "unavailable", "operation": "search", "count": 3},
    {"kind": "throttled", "count": 4, "after": 60, "retry_after": "1"},
)
MET = {"commit_then_timeout", "commit_then_reset", "commit_then_error", "unavailable", "throttled"}


@pytest.mark.parametrize("profile", ["epic", "oracle-health", "fhir"])
def test_each_result_is_charted_once_by_an_ehr_that_fails_in_the_middle_of_writes(
    broker: Broker, topic_prefix: str, profile: str, postgres: str, tmp_path: Path
) -> None:
    recording = record(31, devices=12, seconds=120)
    with sandbox_process(profile, tmp_path) as ehr:
        section = ehr.section | {"capabilities": ehr.section.get("capabilities", {}) | {"timeout_s": 1}}
        with (
            Installation(broker.bootstrap_servers, topic_prefix, tmp_path / "site", section, postgres) as installation,
            RecordingPlayer(broker.bootstrap_servers, topic_prefix) as player,
        ):
            player.admit(recording)
            ehr.admit(recording.patients)
            ehr.faults(*TROUBLES)
            player.send(recording.messages)
            installation.start("telemetry", "clinical", "delivery")
            installation.wait_until_settled(recording)
            assert set(ehr.struck()) == MET
            installation.assert_accounts_for(recording)
            assert_chart_is_true(sandbox_observations(ehr.origin), recording)
            installation.stop_workers()
            installation.assert_no_canary(recording)
