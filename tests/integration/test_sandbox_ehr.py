"""The sandbox EHR refuses what the real ones refuse, so that what passes it has a chance to pass them."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from testbed.sandbox_ehr import SandboxEhr
from tests.ehrs import Ehr, sandbox_ehr


@pytest.fixture
def epic(tmp_path: Path) -> Iterator[Ehr]:
    with sandbox_ehr("epic", tmp_path) as ehr:
        ehr.seed("p")
        ehr.sandbox.sandbox.login.admits = lambda authorization: True
        yield ehr


@pytest.fixture
def oracle(tmp_path: Path) -> Iterator[Ehr]:
    with sandbox_ehr("oracle-health", tmp_path) as ehr:
        ehr.seed("p")
        ehr.sandbox.sandbox.login.admits = lambda authorization: True
        yield ehr


def post(ehr: Ehr, resource: object, **headers: str) -> httpx.Response:
    return httpx.post(f"{ehr.section['base_url']}/Observation", json=resource, headers=headers)


def good(ehr: Ehr) -> dict[str, Any]:
    return copy.deepcopy(ehr.with_encounter(ehr.intent("p")))


def numbers(answer: httpx.Response) -> list[str]:
    return [c["code"] for issue in answer.json()["issue"] for c in issue["details"]["coding"]]


def test_epic_answers_a_create_with_a_relative_location_and_nothing_else(epic: Ehr) -> None:
    answer = post(epic, good(epic))
    assert (answer.status_code, answer.content) == (201, b"")
    assert answer.headers["location"].startswith("Observation/")
    assert "etag" not in answer.headers


def test_epic_returns_the_resource_where_preferred(epic: Ehr) -> None:
    assert post(epic, good(epic), Prefer="return=representation").json()["resourceType"] == "Observation"


def test_oracle_answers_a_create_with_an_absolute_location_an_etag_and_an_empty_page(oracle: Ehr) -> None:
    answer = post(oracle, good(oracle))
    assert (answer.status_code, answer.content) == (201, b"")
    assert answer.headers["location"].startswith(oracle.section["base_url"] + "/Observation/")
    assert answer.headers["etag"] == 'W/"1"'
    assert answer.headers["content-type"].startswith("text/html")
    assert "x-request-id" in answer.headers


@pytest.mark.parametrize(
    ("change", "number"),
    [
        ({"status": "amended"}, "59111"),
        ({"status": None}, "59108"),
        ({"category": []}, "59111"),
        ({"code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}] * 2}}, "59111"),
        ({"code": {"coding": [{"system": "http://loinc.org", "code": "1-8"}]}}, "59188"),
        ({"subject": {"reference": "Patient/nobody"}}, "59144"),
        ({"subject": {"reference": "https://elsewhere/Patient/p"}}, "59111"),
        ({"effectiveDateTime": None}, "59108"),
        ({"effectiveDateTime": "2026-01-05T10:00:00"}, "59111"),
        ({"valueQuantity": {}}, "59108"),
        ({"encounter": None}, "59108"),
        ({"encounter": {"reference": "Encounter/none"}}, "59144"),
        ({"note": [{"text": "x" * 255}]}, "59111"),
        ({"note": [1]}, "59105"),
    ],
)
def test_epic_refuses_what_the_create_page_refuses(epic: Ehr, change: dict[str, Any], number: str) -> None:
    answer = post(epic, good(epic) | change)
    assert (answer.status_code, numbers(answer)) == (400, [number])
    assert epic.observations("p") == []


def test_epic_refuses_a_closed_encounter_and_one_of_another_patient(epic: Ehr) -> None:
    epic.sandbox.seed("p", encounter="finished", encounter_id="closed")
    epic.seed("q")
    for name in ("closed", "enc-q"):
        answer = post(epic, good(epic) | {"encounter": {"reference": f"Encounter/{name}"}})
        assert numbers(answer) == ["59159"]


def test_epic_refuses_the_same_reading_twice_and_keeps_no_identifier_of_ours(epic: Ehr) -> None:
    ours = good(epic) | {"identifier": [{"system": "urn:vitalwire:window", "value": "w"}]}
    post(epic, ours)
    assert numbers(post(epic, ours)) == ["59189"]
    [kept] = epic.observations("p")
    assert "urn:vitalwire:window" not in str(kept)


def test_epic_files_a_wrong_unit_silently_in_the_rows_own(epic: Ehr) -> None:
    quantity = {"value": 72, "unit": "mmHg", "system": "http://unitsofmeasure.org", "code": "mm[Hg]"}
    assert post(epic, good(epic) | {"valueQuantity": quantity}).status_code == 201
    assert epic.observations("p")[0]["valueQuantity"]["code"] == "/min"


def test_epic_ignores_unknown_search_parameters_with_a_warning(epic: Ehr) -> None:
    bundle = httpx.get(f"{epic.section['base_url']}/Encounter?patient=p&status=in-progress").json()
    kinds = [entry["resource"]["resourceType"] for entry in bundle["entry"]]
    assert kinds == ["Encounter", "OperationOutcome"]


def test_epic_finds_observations_by_patient_with_code_or_category_only(epic: Ehr) -> None:
    assert numbers(httpx.get(f"{epic.section['base_url']}/Observation?patient=p")) == ["4111"]


@pytest.mark.parametrize(
    "change",
    [
        {"performer": [{"reference": "Practitioner/1"}]},
        {"performer": None},
        {"status": "preliminary"},
        {"category": []},
        {"effectiveDateTime": None, "effectivePeriod": {"start": "2026-01-05T10:00:00Z"}},
        {"valueQuantity": {"value": 1, "unit": "x"}},
        {"implicitRules": "http://x"},
        {"component": [{"code": {"coding": [{"code": "8480-6"}]}, "valueQuantity": {"value": 1}}]},
        {"subject": {"reference": "Patient/nobody"}},
    ],
)
def test_oracle_refuses_what_its_documentation_refuses(oracle: Ehr, change: dict[str, Any]) -> None:
    answer = post(oracle, good(oracle) | change)
    assert answer.status_code == 422
    assert oracle.observations("p") == []


def test_oracle_takes_the_same_reading_twice_and_gives_identifiers_of_its_own(oracle: Ehr) -> None:
    ours = good(oracle) | {"identifier": [{"system": "urn:vitalwire:window", "value": "w"}]}
    post(oracle, ours)
    post(oracle, ours)
    kept = oracle.observations("p")
    assert len(kept) == 2
    assert "urn:vitalwire:window" not in str(kept)


def test_oracle_serves_json_only_and_needs_a_supported_parameter(oracle: Ehr) -> None:
    base = oracle.section["base_url"]
    assert httpx.get(f"{base}/Patient/p", headers={"Accept": "application/fhir+xml"}).status_code == 406
    assert httpx.get(f"{base}/Observation?identifier=a|b").status_code == 400


def test_oracle_requires_an_encounter_where_switched_so(tmp_path: Path) -> None:
    with sandbox_ehr("oracle-health", tmp_path, encounter_required=True) as ehr:
        ehr.seed("p")
        ehr.sandbox.sandbox.login.admits = lambda authorization: True
        assert post(ehr, ehr.intent("p").payload).status_code == 422
        assert post(ehr, good(ehr)).status_code == 201


@pytest.mark.parametrize("profile", ["epic", "oracle-health"])
def test_nothing_is_served_without_a_token(tmp_path: Path, profile: str) -> None:
    with sandbox_ehr(profile, tmp_path) as ehr:
        assert httpx.get(f"{ehr.section['base_url']}/Patient/p").status_code == 401
        assert httpx.get(f"{ehr.section['base_url']}/metadata").status_code == 200


def test_the_plain_profile_creates_conditionally_and_updates_by_version(tmp_path: Path) -> None:
    with sandbox_ehr("fhir", tmp_path) as ehr:
        ehr.seed("p")
        condition = {"If-None-Exist": "identifier=urn:vitalwire:window%7Cw"}
        ours = good(ehr) | {"identifier": [{"system": "urn:vitalwire:window", "value": "w"}]}
        assert [post(ehr, ours, **condition).status_code for _ in range(2)] == [201, 200]
        url = f"{ehr.section['base_url']}/Observation/{ehr.observations('p')[0]['id']}"
        answers = [httpx.put(url, json=ours, headers={"If-Match": 'W/"1"'}).status_code for _ in range(2)]
        assert answers == [200, 412]


def test_what_was_accepted_is_read_as_ndjson_and_patients_and_faults_are_set_over_http() -> None:
    with SandboxEhr("fhir") as sandbox:
        control = f"{sandbox.origin}/__sandbox"
        assert httpx.put(f"{control}/patients", json=[{"id": "p"}]).status_code == 204
        assert httpx.put(f"{control}/patients", json=[{"id": "p", "nonsense": 1}]).status_code == 422
        assert httpx.put(f"{control}/faults", json=[{"kind": "throttled", "count": 1}]).status_code == 204
        assert httpx.put(f"{control}/faults", json=[{"kind": "nonsense"}]).status_code == 422
        ehr = Ehr("fhir", {"kind": "fhir", "base_url": sandbox.base_url}, sandbox.seed, lambda _: sandbox.resources())
        assert [post(ehr, good(ehr)).status_code for _ in range(2)] == [429, 201]
        assert httpx.get(f"{control}/faults").json() == {"throttled": 1}
        lines = httpx.get(f"{control}/resources?type=Observation").text.splitlines()
        assert len(lines) == 1


def test_a_port_that_is_taken_is_said_so() -> None:
    with SandboxEhr("fhir") as sandbox, pytest.raises(Exception, match="--port"):
        SandboxEhr("fhir", port=sandbox.port)
