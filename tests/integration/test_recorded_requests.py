"""The recorded request of an attempt is what the EHR received, byte for byte, and nothing where no byte left."""

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from adapters.ledger import SqlLedger, open_ledger
from schemas.operation import State
from testbed.sandbox_ehr.faults import Fault
from testbed.servers.process import free_port
from tests.delivering import RESTING, deliver_until, delivery
from tests.doubles.http2_ehr import Http2Ehr, http2_ehr
from tests.doubles.ledgers import migrated_file
from tests.doubles.recording_proxy import recording_proxy
from tests.ehrs import NAME, Ehr, sandbox_ehr

PATIENT = "p0"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqlLedger]:
    opened = open_ledger(migrated_file(tmp_path), bytes(32), subscribers=())
    yield opened
    opened.close()


async def deliver(ehr: Ehr, ledger: SqlLedger) -> None:
    await deliver_until(delivery(ehr, ledger, timeout_s=2), lambda: set(ledger.states()[NAME]) <= RESTING)


def behind(ehr: Ehr, port: int) -> Ehr:
    """The same EHR through a proxy."""
    url = urlsplit(ehr.section["base_url"])
    section = ehr.section | {"base_url": f"{url.scheme}://127.0.0.1:{port}{url.path}"}
    return Ehr(ehr.label, section, ehr.seed, ehr.observations, ehr.sandbox)


def recorded(ledger: SqlLedger, operation_id: str) -> list[bytes | None]:
    return [attempt.request for attempt in ledger.attempts(operation_id)]


@pytest.mark.parametrize("profile", ["fhir", "oracle-health"])
async def test_the_recorded_request_of_a_create_and_of_an_update_is_what_was_received(
    tmp_path: Path, ledger: SqlLedger, profile: str
) -> None:
    with sandbox_ehr(profile, tmp_path) as ehr:
        ehr.seed(PATIENT)
        async with recording_proxy(int(urlsplit(ehr.section["base_url"]).port or 0)) as (proxy, port):
            created, amended = ledger.record([ehr.intent(PATIENT, value=72), ehr.intent(PATIENT, value=75)])
            await deliver(behind(ehr, port), ledger)
        assert ledger.states() == {NAME: {State.SUCCEEDED: 2}}
        assert recorded(ledger, created.operation_id) == proxy.requests("POST")
        assert recorded(ledger, amended.operation_id) == proxy.requests("PUT")
        [update] = proxy.requests("PUT")
        [charted] = ehr.observations(PATIENT)
        sent = json.loads(update)
        assert (sent["id"], sent["identifier"]) == (charted["id"], charted["identifier"])


async def test_a_request_whose_response_was_lost_is_recorded_as_it_was_received(
    tmp_path: Path, ledger: SqlLedger
) -> None:
    with sandbox_ehr("oracle-health", tmp_path) as ehr:
        ehr.seed(PATIENT)
        assert ehr.sandbox is not None
        ehr.sandbox.sandbox.faults.put([Fault(kind="commit_then_reset", operation="create", count=1)])
        async with recording_proxy(int(urlsplit(ehr.section["base_url"]).port or 0)) as (proxy, port):
            (created,) = ledger.record([ehr.intent(PATIENT)])
            await deliver(behind(ehr, port), ledger)
        assert recorded(ledger, created.operation_id) == proxy.requests("POST")
        assert len(proxy.requests("POST")) == 1


async def test_a_request_refused_for_its_token_is_recorded_because_its_bytes_left(
    tmp_path: Path, ledger: SqlLedger
) -> None:
    with sandbox_ehr("oracle-health", tmp_path) as ehr:
        ehr.seed(PATIENT)
        assert ehr.sandbox is not None
        refused = Fault(kind="unauthorized", operation="create", count=2)
        ehr.sandbox.sandbox.faults.put([refused])
        async with recording_proxy(int(urlsplit(ehr.section["base_url"]).port or 0)) as (proxy, port):
            (created,) = ledger.record([ehr.intent(PATIENT)])
            await deliver(behind(ehr, port), ledger)
        assert set(recorded(ledger, created.operation_id)) == set(proxy.requests("POST"))


async def test_nothing_is_recorded_as_sent_to_an_ehr_that_cannot_be_reached(tmp_path: Path, ledger: SqlLedger) -> None:
    section = {"kind": "fhir", "base_url": f"http://127.0.0.1:{free_port()}/fhir"}
    away = Ehr("away", section, lambda _: None, lambda _: [])
    (created,) = ledger.record([away.intent(PATIENT)])
    await deliver_until(delivery(away, ledger), lambda: bool(ledger.attempts(created.operation_id)))
    assert {attempt.code for attempt in ledger.attempts(created.operation_id)} <= {"unreachable", "endpoint_paused"}
    assert set(recorded(ledger, created.operation_id)) == {None}


async def test_over_http2_the_recorded_request_is_what_was_received(
    tmp_path: Path, ledger: SqlLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    received: list[bytes] = []
    answer = Http2Ehr.answer

    def recording(self: Http2Ehr, method: str, path: str, body: bytes) -> object:
        received.append(body)
        return answer(self, method, path, body)

    monkeypatch.setattr(Http2Ehr, "answer", recording)
    async with http2_ehr(tmp_path) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        section = {"kind": "fhir", "base_url": f"{server.origin}/fhir"}
        ehr = Ehr("http2", section, lambda _: None, lambda _: [])
        (created,) = ledger.record([ehr.intent(PATIENT)])
        await deliver(ehr, ledger)
    assert recorded(ledger, created.operation_id) == received
    assert len(received) == 1
