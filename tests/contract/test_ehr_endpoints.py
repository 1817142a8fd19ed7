"""What every EHR adapter promises, whatever EHR is behind it: three sandbox profiles and a real HAPI FHIR server."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mappings.observation.match import compare
from schemas.operation import State
from streams.delivery.ehr_response import written_version
from streams.delivery.verdict import AttemptContext, judge_response
from testbed.sandbox_ehr.profiles import PROFILES
from testbed.servers.process import free_port
from tests.ehrs import NAME, START, Ehr, hapi_ehr, now, sandbox_ehr

_numbers = itertools.count(1)
KINDS = [*PROFILES, "hapi"]


@pytest.fixture(params=KINDS)
def ehr(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ehr]:
    if request.param == "hapi":
        yield hapi_ehr(request.getfixturevalue("hapi"))
        return
    with sandbox_ehr(request.param, tmp_path) as sandboxed:
        yield sandboxed


@pytest.fixture
def patient(ehr: Ehr) -> str:
    name = f"contract-{next(_numbers)}"
    ehr.seed(name)
    return name


def context(ehr: Ehr, action: str = "create") -> AttemptContext:
    endpoint = ehr.endpoint()
    return AttemptContext(endpoint.kind, endpoint.matrix.observation, action)


async def test_a_create_is_answered_with_the_place_of_the_observation(ehr: Ehr, patient: str) -> None:
    connection = ehr.connect()
    intent = ehr.intent(patient)
    response = await connection.create(ehr.with_encounter(intent))
    verdict = judge_response(context(ehr), "Observation", response, now())
    assert verdict.state is State.SUCCEEDED
    assert [o["id"] for o in ehr.observations(patient)] == [verdict.resource_id]
    await connection.close()


async def test_what_was_written_is_found_again_with_the_same_content(ehr: Ehr, patient: str) -> None:
    connection = ehr.connect()
    intent = ehr.intent(patient)
    response = await connection.create(ehr.with_encounter(intent))
    found, search = await ehr.search(connection, intent)
    compared = compare(intent.payload, found)
    assert search.error is None
    assert compared.different == 0
    assert [w.resource_id for w in compared.same] == [written_version(response, "Observation").resource_id]
    await connection.close()


async def test_what_was_never_written_is_not_found(ehr: Ehr, patient: str) -> None:
    connection = ehr.connect()
    other = ehr.intent(patient, minute=30)
    await connection.create(ehr.with_encounter(other))
    found, search = await ehr.search(connection, ehr.intent(patient, minute=0))
    assert search.status == 200
    assert compare(ehr.intent(patient, minute=0).payload, found) == ((), 0)
    await connection.close()


async def test_another_value_at_the_same_time_is_another_result(ehr: Ehr, patient: str) -> None:
    connection = ehr.connect()
    intent = ehr.intent(patient, value=72)
    await connection.create(ehr.with_encounter(intent))
    changed = ehr.intent(patient, value=99)
    found, _ = await ehr.search(connection, changed)
    assert compare(changed.payload, found) == ((), 1)
    await connection.close()


async def test_the_active_encounter_is_found_and_kept(ehr: Ehr, patient: str) -> None:
    connection = ehr.connect()
    first = await connection.active_encounter(patient, START)
    second = await connection.active_encounter(patient, START)
    assert first[0] == second[0] == f"Encounter/enc-{patient}"
    assert len(ehr.observer.requests("Encounter.search")) == 1
    await connection.close()


async def test_a_patient_without_an_encounter_has_no_active_one(ehr: Ehr) -> None:
    connection = ehr.connect()
    encounter, response = await connection.active_encounter("nobody-is-here", START)
    assert encounter is None
    assert response is not None
    await connection.close()


async def test_a_refused_resource_is_an_answer_and_no_exception(ehr: Ehr, patient: str) -> None:
    connection = ehr.connect()
    intent = ehr.intent(patient)
    response = await connection.create(ehr.with_encounter(intent) | {"status": "nonsense"})
    assert response.status in (400, 422)
    assert response.sent
    assert ehr.observations(patient) == []
    await connection.close()


async def test_an_ehr_that_is_away_is_an_answer_that_says_nothing_was_sent(ehr: Ehr, patient: str) -> None:
    away = Ehr(ehr.label, ehr.section | {"base_url": f"http://127.0.0.1:{free_port()}", "auth": {"kind": "none"}}, *_no)
    connection = away.connect()
    intent = ehr.intent(patient)
    response = await connection.create(intent.payload)
    assert (response.status, response.sent) == (None, False)
    assert judge_response(context(ehr), "Observation", response, now()).state is State.DEFERRED
    await connection.close()


_no = (lambda _: None, lambda _: [])


async def test_every_call_is_counted_by_endpoint_operation_and_status_only(ehr: Ehr, patient: str) -> None:
    connection = ehr.connect()
    intent = ehr.intent(patient)
    await connection.create(ehr.with_encounter(intent))
    labels = [labels for name, labels in ehr.observer.counted if name == "ehr_requests_total"]
    assert labels == [{"endpoint": NAME, "operation": "Observation.create", "status": "201"}]
    await connection.close()


async def test_an_amendment_makes_the_next_version_and_a_stale_one_is_refused(ehr: Ehr, patient: str) -> None:
    connection = ehr.connect()
    intent = ehr.intent(patient, value=72)
    made = written_version(await connection.create(ehr.with_encounter(intent)), "Observation")
    amended = ehr.with_encounter(ehr.intent(patient, value=75)) | {"status": "amended"}
    response = await connection.update(str(made.resource_id), made.version, amended)
    verdict = judge_response(context(ehr, "update"), "Observation", response, now())
    if not ehr.endpoint().matrix.observation.amend:
        assert verdict.state is State.HELD
        assert [o["valueQuantity"]["value"] for o in ehr.observations(patient)] == [72]
        await connection.close()
        return
    assert (verdict.state, verdict.version) == (State.SUCCEEDED, "2")
    assert [(o["status"], o["valueQuantity"]["value"]) for o in ehr.observations(patient)] == [("amended", 75)]
    stale = await connection.update(str(made.resource_id), made.version, amended)
    assert judge_response(context(ehr, "update"), "Observation", stale, now()).code == "version_conflict"
    await connection.close()


async def test_the_same_result_sent_twice_is_doubled_only_where_the_ehr_has_no_means_against_it(
    ehr: Ehr, patient: str
) -> None:
    connection = ehr.connect()
    intent = ehr.intent(patient)
    for _time in range(2):
        await connection.create(ehr.with_encounter(intent))
    capabilities = ehr.endpoint().matrix.observation
    defended = capabilities.conditional_create or capabilities.server_dedupes
    assert len(ehr.observations(patient)) == (1 if defended else 2)
    await connection.close()


async def test_a_far_future_encounter_search_time_is_harmless(ehr: Ehr, patient: str) -> None:
    connection = ehr.connect()
    encounter, _ = await connection.active_encounter(patient, datetime(9999, 1, 1, tzinfo=UTC))
    assert encounter == f"Encounter/enc-{patient}"
    await connection.close()
