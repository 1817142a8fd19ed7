"""A pairing corrected after results were charted: a person gets the list, and the wrong chart gets nothing more."""

from __future__ import annotations

from pathlib import Path

import orjson

from schemas.correction import Correction
from schemas.operation import State
from schemas.topics import CORRECTIONS, WINDOWS
from testbed.brokers import Broker
from tests.conditions import wait_until
from tests.system.chart_checks import sandbox_observations
from tests.system.ehrs import SandboxProcess, sandbox_process
from tests.system.installation import Installation
from tests.system.player import RecordingPlayer
from tests.system.recording import BASE_MS, ENDPOINT, TENANT, WINDOW_MS, Message, record, subject_id

WRONG, RIGHT = 2, 3
LATER_MS = BASE_MS + 600_000


def later(device: str, windows: int) -> list[Message]:
    """A heart rate every second for so many windows, ten minutes after the recording."""
    readings = [
        {"type": "heart_rate", "value": 60 + n % 30, "unit": "/min", "time": LATER_MS + n * 1000}
        for n in range(windows * WINDOW_MS // 1000)
    ]
    frames = [{"tenant_id": TENANT, "device_id": device, "readings": [one]} for one in readings]
    return [Message(device.encode(), orjson.dumps(frame), 1, n) for n, frame in enumerate(frames)]


def charted_of(ehr: SandboxProcess, patient: str) -> int:
    reference = f"Patient/{subject_id(patient)}"
    return sum(one["subject"]["reference"] == reference for one in sandbox_observations(ehr.origin))


def listed(installation: Installation) -> list[Correction]:
    return [Correction.model_validate_json(stored.value or b"") for stored in installation.records(CORRECTIONS)]


def test_a_corrected_pairing_lists_what_was_charted_and_charts_nothing_more_for_the_wrong_patient(
    broker: Broker, topic_prefix: str, postgres: str, tmp_path: Path
) -> None:
    recording = record(41, devices=4, seconds=30)
    wrong, right = recording.patients[WRONG], recording.patients[RIGHT]
    device = list(recording.pairings)[WRONG]
    with sandbox_process("fhir", tmp_path) as ehr:
        bootstrap = broker.bootstrap_servers
        with (
            Installation(bootstrap, topic_prefix, tmp_path / "site", ehr.section, postgres) as installation,
            RecordingPlayer(bootstrap, topic_prefix) as player,
        ):
            player.admit(recording)
            ehr.admit(recording.patients)
            player.send(recording.messages)
            installation.start("telemetry", "clinical", "delivery")
            installation.wait_until_settled(recording)
            before = charted_of(ehr, wrong), charted_of(ehr, right)

            player.correct(device, right)
            wait_until(lambda: len(listed(installation)) >= before[0], 60, what="the list of corrections")
            player.send(later(device, windows=6))
            wait_until(lambda: charted_of(ehr, right) >= before[1] + 5, 60, what="results of the right patient")
            installation.wait_until_taken("clinical", WINDOWS)
            installation.stop_workers()

            assert charted_of(ehr, wrong) == before[0] > 0
            charted = installation.ledger.find(endpoint=ENDPOINT, state=State.SUCCEEDED, limit=10_000)
            in_doubt = {one.operation_id for one in charted if one.intent.patient_id == wrong}
            corrections = listed(installation)
            assert sorted(one.operation_id for one in corrections) == sorted(in_doubt)
            assert {(one.cause, one.device_id, one.subject_id) for one in corrections} == {
                ("pairing_changed", device, subject_id(wrong))
            }
            installation.assert_no_canary(recording)
