"""The conversation with an EHR over real sockets: silence, hostile answers, and what never reaches a log."""

import gzip
import logging
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from adapters.ehr import connect
from adapters.ehr.http import LARGEST_RESPONSE_BYTES
from schemas.config import Endpoint
from schemas.errors import Misconfigured
from schemas.ports.ehr import EhrEndpoint
from testbed.sandbox_ehr.faults import Fault
from tests.ehrs import NAME, START, Counts, Ehr, now, read_secret, sandbox_ehr


def responding_with(http_response: httpx.Response, **capabilities: object) -> EhrEndpoint:
    endpoint = Endpoint(kind="fhir", base_url="https://ehr.example/fhir", capabilities=capabilities)
    return connect(NAME, endpoint, read_secret, now, Counts(), transport=httpx.MockTransport(lambda _: http_response))


def bundle(*resources: dict[str, object], link: str | None = None) -> dict[str, object]:
    links = [{"relation": "next", "url": link}] if link else []
    return {"resourceType": "Bundle", "link": links, "entry": [{"resource": r} for r in resources]}


@pytest.fixture
async def ehr(tmp_path: Path) -> AsyncIterator[Ehr]:
    with sandbox_ehr("fhir", tmp_path) as ehr:
        ehr.seed("canary-patient")
        yield ehr


async def test_patients_values_and_tokens_never_reach_a_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with sandbox_ehr("oracle-health", tmp_path) as ehr:
        ehr.seed("canary-patient")
        connection = ehr.connect()
        intent = ehr.intent("canary-patient", value=71.25)
        await connection.active_encounter("canary-patient", START)
        await connection.create(ehr.with_encounter(intent))
        await ehr.search(connection, intent)
        await connection.close()
        assert len(ehr.observations("canary-patient")) == 1
    for canary in ("canary-patient", "71.25", "Bearer", ehr.sandbox.sandbox.login.client_secret):
        assert canary not in caplog.text


@pytest.mark.parametrize("kind", ["reset", "commit_then_reset", "commit_then_timeout"])
async def test_silence_after_sending_says_that_it_may_have_arrived(ehr: Ehr, kind: str) -> None:
    ehr.sandbox.sandbox.faults.put([Fault(kind=kind)])
    connection = ehr.connect(timeout_s=0.2)
    intent = ehr.intent("canary-patient")
    response = await connection.create(intent.payload)
    assert (response.status, response.sent) == (None, True)
    await connection.close()


async def test_a_token_endpoint_that_is_silent_leaves_the_result_unsent(tmp_path: Path) -> None:
    with sandbox_ehr("epic", tmp_path) as ehr:
        ehr.sandbox.sandbox.faults.put([Fault(kind="slow", operation="token", delay_s=5)])
        connection = ehr.connect(timeout_s=0.2)
        intent = ehr.intent("p")
        response = await connection.create(intent.payload)
        assert (response.status, response.sent) == (None, False)
        await connection.close()


async def test_a_refused_client_leaves_the_result_unsent_with_the_reason(tmp_path: Path) -> None:
    with (
        sandbox_ehr("epic", tmp_path) as ehr,
        sandbox_ehr("epic", tmp_path),
    ):  # the second one's key overwrites the file
        connection = ehr.connect()
        intent = ehr.intent("p")
        response = await connection.create(intent.payload)
        assert (response.status, response.sent, response.error) == (401, False, "invalid_client")
        await connection.close()


async def test_an_answer_without_end_is_cut_off() -> None:
    bomb = gzip.compress(b"0" * (LARGEST_RESPONSE_BYTES * 4))
    http_response = httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(bomb))
    connection = responding_with(http_response)
    _, response = await connection.active_encounter("p", START)
    assert (response.error, response.body) == ("too_large", b"")
    await connection.close()


async def test_a_broken_encoding_is_no_answer_to_a_search() -> None:
    http_response = httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"no gzip"))
    connection = responding_with(http_response)
    encounter, response = await connection.active_encounter("p", START)
    assert (encounter, response.error) == (None, "undecodable")
    await connection.close()


@pytest.mark.parametrize(
    "link",
    ["https://elsewhere.example/fhir?page=2", "http://ehr.example/fhir?page=2", "https://ehr.example/other?page=2"],
)
async def test_a_next_page_elsewhere_is_not_followed_and_the_search_counts_as_incomplete(link: str) -> None:
    connection = responding_with(httpx.Response(200, json=bundle(link=link)))
    encounter, response = await connection.active_encounter("p", START)
    assert (encounter, response.error) == (None, "foreign_page")
    await connection.close()


async def test_pages_without_end_count_as_incomplete() -> None:
    connection = responding_with(httpx.Response(200, json=bundle(link="https://ehr.example/fhir?page=2")))
    _, response = await connection.active_encounter("p", START)
    assert response.error == "too_many_pages"
    await connection.close()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"resourceType":"Bundle","entry":"x","link":[1]}',
        b'{"resourceType":"Bundle","entry":[1,{"resource":3}]}',
        b'{"resourceType":"Bundle","entry":[{"resource":{"resourceType":"Encounter","status":"in-progress"}}]}',
    ],
)
async def test_any_body_of_a_search_is_an_answer(body: bytes) -> None:
    connection = responding_with(httpx.Response(200, content=body))
    encounter, response = await connection.active_encounter("p", START)
    assert encounter is None
    assert response.status == 200
    await connection.close()


async def test_an_endpoint_that_speaks_no_http_is_refused_with_what_to_use() -> None:
    with pytest.raises(Misconfigured, match="fhir, epic, oracle-health"):
        connect(NAME, Endpoint(kind="hl7v2", base_url="mllp://h:1"), read_secret, now, Counts())
