"""Consent revoked while a result is already on its way to the wire: it is asked again last of all, and nothing leaves."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from schemas.operation import State
from streams.delivery.review import review
from streams.delivery.role import Delivery
from testbed.sandbox_ehr.faults import Fault
from tests.delivering import at_rest, deliver_until, delivery
from tests.doubles.http2_ehr import http2_ehr
from tests.doubles.memory_ledger import MemoryLedger
from tests.doubles.ports import StaticReference
from tests.ehrs import NAME, Ehr, now, sandbox_ehr


def consenting(*patients: str) -> StaticReference:
    reference = StaticReference()
    for patient in patients:
        reference.admit(patient, **{NAME: patient})
    return reference


def asking(reference: StaticReference, ehr: Ehr, ledger: MemoryLedger, **capabilities: object) -> Delivery:
    reviewed = lambda operation, at: review(operation, reference, at)  # noqa: E731
    return delivery(ehr, ledger, timeout_s=10, review=reviewed, capabilities=capabilities)


def revoking(reference: StaticReference, ledger: MemoryLedger, when: Callable[[], bool]) -> Callable[[], bool]:
    def rested() -> bool:
        if when():
            reference.consents.clear()
        return at_rest(ledger)

    return rested


async def test_consent_revoked_while_the_token_is_fetched_is_honoured(tmp_path: Path) -> None:
    with sandbox_ehr("oracle-health", tmp_path) as ehr:
        ehr.seed("p0")
        ehr.sandbox.sandbox.faults.put([Fault(kind="slow", operation="token", delay_s=0.5)])
        ledger, reference = MemoryLedger(), consenting("p0")
        ledger.record([ehr.intent("p0")], now=now())
        role = asking(reference, ehr, ledger)
        await deliver_until(role, revoking(reference, ledger, lambda: bool(ehr.sandbox.sandbox.faults.struck)))
        [operation] = ledger.operations.values()
        assert (operation.state, operation.code) == (State.QUARANTINED, "no_consent")
        assert ehr.observations("p0") == []


async def test_consent_revoked_while_the_endpoints_pace_is_waited_for_is_honoured(tmp_path: Path) -> None:
    with sandbox_ehr("fhir", tmp_path) as ehr:
        ehr.seed("p0")
        ehr.seed("p1")
        ledger, reference = MemoryLedger(), consenting("p0", "p1")
        ledger.record([ehr.intent("p0"), ehr.intent("p1")], now=now())
        role = asking(reference, ehr, ledger, max_requests_per_s=1)
        await deliver_until(role, revoking(reference, ledger, lambda: bool(ehr.observations("p0"))))
        assert [o.state for o in ledger.operations.values()] == [State.SUCCEEDED, State.QUARANTINED]
        assert ehr.observations("p1") == []


async def test_an_amendment_is_not_sent_when_consent_went_while_it_waited(tmp_path: Path) -> None:
    with sandbox_ehr("fhir", tmp_path) as ehr:
        ehr.seed("p0")
        ledger, reference = MemoryLedger(), consenting("p0")
        ledger.record([ehr.intent("p0", value=72), ehr.intent("p0", value=75)], now=now())
        role = asking(reference, ehr, ledger, max_requests_per_s=1)
        await deliver_until(role, revoking(reference, ledger, lambda: ledger.operations["op-2"].attempts == 1))
        assert ledger.operations["op-2"].code == "no_consent"
        assert [o["valueQuantity"]["value"] for o in ehr.observations("p0")] == [72]


async def test_consent_revoked_while_the_connection_is_made_is_honoured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        http2_ehr(tmp_path) as server,
        slow_way(int(server.origin.rpartition(":")[2])) as (port, called, open_up),
    ):
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        section = {"kind": "fhir", "base_url": f"https://127.0.0.1:{port}/fhir"}
        ehr = Ehr("http2", section, lambda _: None, lambda _: [])
        ledger, reference = MemoryLedger(), consenting("p0")
        ledger.record([ehr.intent("p0")], now=now())

        def revoked_before_the_way_is_open() -> bool:
            if called.is_set():
                reference.consents.clear()
                open_up.set()
            return at_rest(ledger)

        await deliver_until(asking(reference, ehr, ledger), revoked_before_the_way_is_open)
        assert ledger.operations["op-1"].code == "no_consent"
        assert (server.requests, server.observations) == ([], [])


async def test_a_write_stopped_before_its_first_byte_sends_nothing_and_harms_no_other_write(tmp_path: Path) -> None:
    with sandbox_ehr("fhir", tmp_path) as ehr:
        ehr.seed("p0")
        connection = ehr.connect()
        intent = ehr.intent("p0")
        response = await connection.create(intent.payload, lambda: False)
        assert (response.status, response.sent, response.error) == (None, False, "withheld")
        assert (await connection.create(intent.payload, lambda: True)).status == 201
        assert len(ehr.observations("p0")) == 1
        await connection.close()


@asynccontextmanager
async def slow_way(port: int) -> AsyncIterator[tuple[int, asyncio.Event, asyncio.Event]]:
    """A way to a server on which nothing moves before the second event is set; the first tells that somebody called."""
    called, open_up = asyncio.Event(), asyncio.Event()

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        called.set()
        await open_up.wait()
        onward = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_pass(reader, onward[1]), _pass(onward[0], writer))

    server = await asyncio.start_server(join, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], called, open_up
    finally:
        server.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()
