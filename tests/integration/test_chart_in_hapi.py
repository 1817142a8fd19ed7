"""From readings on Kafka to Observations that a real FHIR server finds when it is searched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fhir.resources.R4B.observation import Observation

from mappings.observation.us_core import validate
from schemas.endpoint_kinds import DEFAULTS
from schemas.topics import WINDOWS
from testbed.brokers import Broker
from tests.system.chart_checks import assert_chart_is_true, searched_observations
from tests.system.ehrs import admit_to_fhir
from tests.system.installation import Installation
from tests.system.player import RecordingPlayer
from tests.system.recording import Recording, record, subject_id

SEED = 61


@pytest.fixture(scope="module")
def recording() -> Recording:
    return record(SEED, devices=6, seconds=60)


@pytest.fixture(scope="module")
def installation(
    broker: Broker, hapi: str, recording: Recording, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """Everything charted and at rest."""
    section = {"kind": "fhir", "base_url": hapi, "capabilities": {"conditional_create": True}}
    directory = tmp_path_factory.mktemp("site")
    prefix = f"hapi-{directory.name}-"
    with (
        Installation(broker.bootstrap_servers, prefix, directory, section) as installed,
        RecordingPlayer(broker.bootstrap_servers, prefix) as player,
    ):
        admit_to_fhir(hapi, recording.patients)
        player.admit(recording)
        player.send(recording.messages)
        installed.start("telemetry", "clinical", "delivery")
        installed.wait_until_settled(recording)
        yield installed


@pytest.fixture
def observations(installation: Installation, hapi: str, recording: Recording) -> list[dict[str, Any]]:
    return searched_observations(hapi, recording.patients)


def test_the_chart_has_each_result_of_the_right_patient_once_with_the_exact_statistic_of_what_was_sent(
    observations: list[dict[str, Any]], recording: Recording
) -> None:
    assert_chart_is_true(observations, recording)


def test_reconcile_accounts_for_every_reading_of_the_ward(installation: Installation, recording: Recording) -> None:
    installation.assert_accounts_for(recording)


def test_each_observation_is_valid_fhir_and_keeps_our_us_core_rules(observations: list[dict[str, Any]]) -> None:
    assert observations
    for observation in observations:
        Observation.model_validate(observation)
        assert validate(observation, DEFAULTS["fhir"].observation) == []


def test_a_search_by_window_identifier_finds_exactly_the_result_of_that_window(
    installation: Installation, hapi: str, observations: list[dict[str, Any]]
) -> None:
    windows = installation.windows()
    assert observations
    for observation in observations[:20]:
        [identifier] = observation["identifier"]
        assert identifier["system"] == "urn:vitalwire:window"
        assert identifier["value"] in windows
        wanted = {"identifier": f"{identifier['system']}|{identifier['value']}"}
        bundle = httpx.get(f"{hapi}/Observation", params=wanted, timeout=60).raise_for_status().json()
        assert [entry["resource"]["id"] for entry in bundle["entry"]] == [observation["id"]]


def test_a_patient_who_does_not_consent_has_no_observation(
    installation: Installation, hapi: str, recording: Recording
) -> None:
    [private] = set(recording.patients) - set(recording.consented)
    wanted = {"subject": f"Patient/{subject_id(private)}"}
    bundle = httpx.get(f"{hapi}/Observation", params=wanted, timeout=60).raise_for_status().json()
    assert bundle.get("entry", []) == []
    assert any(place[0] == private for place in recording.windows())


def test_windows_read_again_by_a_clinical_worker_that_lost_its_place_give_no_second_observation(
    installation: Installation, hapi: str, recording: Recording
) -> None:
    [clinical] = [worker for worker in installation.workers if worker.role == "clinical"]
    clinical.kill()
    installation.forget_place("clinical")
    installation.start("clinical")
    installation.wait_until_taken("clinical", WINDOWS)
    installation.wait_until_settled(recording)
    assert_chart_is_true(searched_observations(hapi, recording.patients), recording)
