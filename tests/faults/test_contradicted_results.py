"""Delivery where the chart, the EHR's patient or the patient's consent contradicts a result."""

from pathlib import Path

import pytest

from schemas.errors import RetryLater
from schemas.operation import Operation, State
from streams.delivery.review import Stop
from testbed.sandbox_ehr.faults import Fault
from tests.delivering import at_rest, deliver_until, delivery
from tests.doubles.memory_ledger import MemoryLedger
from tests.ehrs import NAME, Ehr, sandbox_ehr
from tests.faults.charting import record_results


async def test_a_reading_the_chart_contradicts_is_quarantined_and_never_overwritten(tmp_path: Path) -> None:
    with sandbox_ehr("epic", tmp_path) as ehr:
        ehr.seed("p0")
        ledger = MemoryLedger()
        connection = ehr.connect()
        other = ehr.intent("p0", value=99)
        await connection.create(ehr.with_encounter(other))
        await connection.close()
        ehr.sandbox.sandbox.faults.put([Fault(kind="already_exists")])
        ledger.record([ehr.intent("p0", value=72)])
        await deliver_until(delivery(ehr, ledger), lambda: at_rest(ledger))
        [operation] = ledger.operations.values()
        assert (operation.state, operation.code) == (State.QUARANTINED, "59189")
        assert [o["valueQuantity"]["value"] for o in ehr.observations("p0")] == [99]


async def test_a_merged_patient_is_held_and_the_redirect_is_not_followed(tmp_path: Path) -> None:
    with sandbox_ehr("epic", tmp_path) as ehr:
        ehr.seed("survivor")
        ehr.sandbox.seed("p0", merged_into="survivor")
        ledger = MemoryLedger()
        ledger.record([ehr.intent("p0")])
        await deliver_until(delivery(ehr, ledger), lambda: at_rest(ledger))
        [operation] = ledger.operations.values()
        assert (operation.state, operation.code) == (State.HELD, "4107")
        assert ehr.observations("survivor") == []


async def test_withdrawn_consent_stops_what_was_recorded_under_it(ehr: Ehr) -> None:
    ledger = MemoryLedger()
    record_results(ehr, ledger)
    withdrawn = {"p1", "p2"}

    def review(operation: Operation, at: object) -> Stop | None:
        return Stop(State.QUARANTINED, "no_consent") if operation.intent.patient_id in withdrawn else None

    role = delivery(ehr, ledger, review=review)
    await deliver_until(role, lambda: at_rest(ledger))
    refused = [o for o in ledger.operations.values() if o.state is State.QUARANTINED]
    assert {o.intent.patient_id for o in refused} == withdrawn
    assert {o.code for o in refused} == {"no_consent"}
    assert [ehr.observations(p) for p in withdrawn] == [[], []]


async def test_consent_that_cannot_be_read_sends_nothing_and_loses_nothing(ehr: Ehr) -> None:
    ledger = MemoryLedger()
    ledger.record([ehr.intent("p0")])
    asked: list[bool] = []

    def review(operation: Operation, at: object) -> None:
        asked.append(True)
        if len(asked) < 3:
            raise RetryLater("consents are not current", after_s=0.01)

    role = delivery(ehr, ledger, review=review)
    await deliver_until(role, lambda: at_rest(ledger))
    assert ledger.states() == {NAME: {State.SUCCEEDED: 1}}
    assert [o.code for o in ledger.history["op-1"]] == ["consent_unavailable", "consent_unavailable", None]
    assert len(ehr.observations("p0")) == 1


async def test_a_changed_result_amends_the_observation_or_is_left_to_a_person(ehr: Ehr) -> None:
    ledger = MemoryLedger()
    ledger.record([ehr.intent("p0", value=72)])
    ledger.record([ehr.intent("p0", value=75)])
    await deliver_until(delivery(ehr, ledger), lambda: at_rest(ledger))
    charted = [(o["status"], o["valueQuantity"]["value"]) for o in ehr.observations("p0")]
    if ehr.endpoint().matrix.observation.amend:
        assert charted == [("amended", 75)]
        assert ledger.states() == {NAME: {State.SUCCEEDED: 2}}
    else:
        assert charted == [("final", 72)]
        assert ledger.operations["op-2"].code == "amend_unsupported"


@pytest.mark.parametrize("kind", ["commit_then_reset", "reset", "commit_then_error"])
async def test_an_amendment_whose_answer_is_lost_is_made_once(tmp_path: Path, kind: str) -> None:
    for profile in ("oracle-health", "fhir"):
        with sandbox_ehr(profile, tmp_path) as ehr:
            ehr.seed("p0")
            ledger = MemoryLedger()
            ledger.record([ehr.intent("p0", value=72), ehr.intent("p0", value=75)])
            ehr.sandbox.sandbox.faults.put([Fault(kind=kind, operation="update", count=1)])
            await deliver_until(delivery(ehr, ledger), lambda ledger=ledger: at_rest(ledger))
            [charted] = ehr.observations("p0")
            assert (charted["valueQuantity"]["value"], charted["meta"]["versionId"]) == (75, "2")
            assert ledger.states() == {NAME: {State.SUCCEEDED: 2}}


@pytest.mark.parametrize("profile", ["oracle-health", "fhir"])
async def test_an_observation_changed_by_somebody_else_is_not_overwritten(tmp_path: Path, profile: str) -> None:
    with sandbox_ehr(profile, tmp_path) as ehr:
        ehr.seed("p0")
        ledger = MemoryLedger()
        ledger.record([ehr.intent("p0", value=72)])
        await deliver_until(delivery(ehr, ledger), lambda: at_rest(ledger))
        [held] = ehr.observations("p0")
        ehr.sandbox.sandbox.store.replace(held, held | {"status": "entered-in-error"})
        ledger.record([ehr.intent("p0", value=75)])
        await deliver_until(delivery(ehr, ledger), lambda: at_rest(ledger))
        assert ledger.operations["op-2"].code == "version_conflict"
        assert [o["status"] for o in ehr.observations("p0")] == ["entered-in-error"]


async def test_pages_that_repeat_rows_do_not_make_a_result_look_doubled(tmp_path: Path) -> None:
    with sandbox_ehr("oracle-health", tmp_path) as ehr:
        ehr.seed("p0")
        intent = ehr.intent("p0")
        connection = ehr.connect()
        for device in range(60):
            other = ehr.intent("p0", value=100 + device, device=f"mon-{device}")
            await connection.create(other.payload)
        await connection.create(intent.payload)
        ehr.sandbox.sandbox.faults.put([Fault(kind="duplicate_pages", operation="search")])
        found, response = await ehr.search(connection, intent)
        await connection.close()
        assert response.error is None
        assert len(found) == 61
