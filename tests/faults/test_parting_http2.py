"""An HTTP/2 server that takes leave between two writes, as each does now and then: the next one goes to a new connection."""

import pytest

from schemas.operation import State
from tests.delivering import at_rest, deliver_until, delivery
from tests.doubles.http2_ehr import Break, Http2Ehr, ehr_at, hangs_up, leaves, says_that_it_leaves
from tests.doubles.memory_ledger import MemoryLedger
from tests.ehrs import now

PARTINGS = [says_that_it_leaves, leaves, hangs_up]


@pytest.mark.parametrize("parts", PARTINGS)
async def test_a_write_after_a_server_took_leave_goes_to_a_new_connection(server: Http2Ehr, parts: Break) -> None:
    ehr = ehr_at(server)
    connection = ehr.connect(timeout_s=2)
    first, second = ehr.intent("p0"), ehr.intent("p1")
    assert (await connection.create(first.payload)).status == 201
    parts(server.connections[0], server.connections[0].answered)
    assert (await connection.create(second.payload)).status == 201
    assert server.requests == ["POST /fhir/Observation"] * 2
    assert len(server.connections) == 2
    await connection.close()


@pytest.mark.parametrize("parts", PARTINGS)
async def test_nothing_is_searched_for_or_held_where_a_server_takes_leave_with_every_answer(
    server: Http2Ehr, parts: Break
) -> None:
    ehr, ledger = ehr_at(server), MemoryLedger()
    ledger.record([ehr.intent(f"p{n}") for n in range(6)], now=now())
    server.leave_with = parts
    await deliver_until(delivery(ehr, ledger, timeout_s=2), lambda: at_rest(ledger))
    assert [o.state for o in ledger.operations.values()] == [State.SUCCEEDED] * 6
    assert server.requests == ["POST /fhir/Observation"] * 6


async def test_a_connection_on_which_nothing_was_said_is_used_again(server: Http2Ehr) -> None:
    ehr = ehr_at(server)
    connection = ehr.connect(timeout_s=2)
    for patient in ("p0", "p1", "p2"):
        intent = ehr.intent(patient)
        assert (await connection.create(intent.payload)).status == 201
    assert len(server.connections) == 1
    await connection.close()
