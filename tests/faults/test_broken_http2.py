"""An EHR that took a POST and then broke HTTP/2: whatever may have left is searched for, and nothing is written twice."""

import pytest

from schemas.operation import State
from tests.delivering import at_rest, deliver_until, delivery
from tests.doubles.http2_ehr import (
    Break,
    Http2Ehr,
    answers_no_status_there_is,
    data_on_no_stream,
    ehr_at,
    hangs_up,
    refuses_the_stream,
    says_it_took_nothing,
)
from tests.doubles.memory_ledger import MemoryLedger
from tests.ehrs import now

BREAKS = [data_on_no_stream, says_it_took_nothing, refuses_the_stream, hangs_up, answers_no_status_there_is]


@pytest.mark.parametrize("breaks", BREAKS)
async def test_a_post_that_an_http2_server_took_before_it_broke_off_is_charted_once(
    server: Http2Ehr, breaks: Break
) -> None:
    ehr, ledger = ehr_at(server), MemoryLedger()
    ledger.record([ehr.intent("p0"), ehr.intent("p1")], now=now())
    server.break_with = breaks
    await deliver_until(delivery(ehr, ledger, timeout_s=2), lambda: at_rest(ledger))
    assert [len(ehr.observations(p)) for p in ("p0", "p1")] == [1, 1]
    assert [o.state for o in ledger.operations.values()] == [State.SUCCEEDED, State.SUCCEEDED]
    assert server.requests.count("POST /fhir/Observation") == 2


@pytest.mark.parametrize("breaks", BREAKS)
async def test_an_answer_that_broke_off_says_that_the_request_had_left(server: Http2Ehr, breaks: Break) -> None:
    ehr = ehr_at(server)
    connection = ehr.connect(timeout_s=2)
    first, second = ehr.intent("p0"), ehr.intent("p1")
    server.break_with = breaks
    assert (await connection.create(first.payload)).status == 201
    response = await connection.create(second.payload)
    assert (response.status, response.sent) == (None, True)
    await connection.close()
