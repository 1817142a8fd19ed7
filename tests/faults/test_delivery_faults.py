"""Delivery against EHRs that fail in every way an EHR can: nothing twice, nothing lost, nothing claimed that is not so."""

import pytest

from mappings.result_kinds import RESULT_KINDS
from schemas.operation import State
from streams.delivery.audit import SettlementAudit
from testbed.sandbox_ehr.faults import Fault
from tests.delivering import at_rest, deliver_until, delivery
from tests.doubles.memory_ledger import MemoryLedger
from tests.ehrs import NAME, Ehr
from tests.faults.charting import MINUTES, PATIENTS, assert_chart_agrees, record_results


async def test_undisturbed_results_are_charted_once_and_in_order(ehr: Ehr) -> None:
    ledger = MemoryLedger()
    record_results(ehr, ledger)
    await deliver_until(delivery(ehr, ledger), lambda: at_rest(ledger))
    assert ledger.states() == {NAME: {State.SUCCEEDED: len(PATIENTS) * len(MINUTES)}}
    assert_chart_agrees(ehr, ledger)
    for patient in PATIENTS:
        assert [o["valueQuantity"]["value"] // 10 for o in ehr.observations(patient)] == [6, 7, 8]


@pytest.mark.parametrize(
    "kind",
    [
        "commit_then_timeout",
        "commit_then_reset",
        "commit_then_error",
        "throttled",
        "unavailable",
        "slow",
    ],
)
async def test_a_write_that_the_ehr_has_or_definitely_refused_ends_in_the_chart_once(ehr: Ehr, kind: str) -> None:
    ledger = MemoryLedger()
    record_results(ehr, ledger)
    ehr.sandbox.sandbox.faults.put([Fault(kind=kind, count=4, after=2, retry_after="0")])
    await deliver_until(delivery(ehr, ledger), lambda: at_rest(ledger))
    assert ehr.sandbox.sandbox.faults.struck == {kind: 4}
    assert ledger.states() == {NAME: {State.SUCCEEDED: len(PATIENTS) * len(MINUTES)}}
    assert_chart_agrees(ehr, ledger)


@pytest.mark.parametrize("kind", ["reset", "error", "html"])
async def test_a_lost_request_is_sent_again_only_where_the_ehr_refuses_repeats(ehr: Ehr, kind: str) -> None:
    ledger = MemoryLedger()
    record_results(ehr, ledger)
    ehr.sandbox.sandbox.faults.put([Fault(kind=kind, count=3)])
    await deliver_until(delivery(ehr, ledger), lambda: at_rest(ledger))
    capabilities = ehr.endpoint().matrix.observation
    resent = capabilities.server_dedupes or capabilities.conditional_create
    everything = len(PATIENTS) * len(MINUTES)
    lost = 0 if resent else 3
    states = ledger.states()[NAME]
    assert states.get(State.HELD, 0) == lost
    assert states[State.SUCCEEDED] == everything - lost
    assert {o.code for o in ledger.operations.values() if o.state is State.HELD} <= {"absent"}
    assert_chart_agrees(ehr, ledger)


@pytest.mark.parametrize("kind", ["forbidden", "redirect"])
async def test_a_failure_that_needs_manual_review_is_held_and_not_repeated(ehr: Ehr, kind: str) -> None:
    ledger = MemoryLedger()
    ledger.record([ehr.intent("p0")])
    ehr.sandbox.sandbox.faults.put([Fault(kind=kind)])
    await deliver_until(delivery(ehr, ledger), lambda: at_rest(ledger))
    [operation] = ledger.operations.values()
    assert operation.state is State.HELD
    assert len(ehr.observer.requests("Observation.create")) == 1
    assert ehr.observations("p0") == []


async def test_an_ehr_that_is_down_gets_everything_once_it_is_back(ehr: Ehr) -> None:
    ledger = MemoryLedger()
    record_results(ehr, ledger)
    ehr.sandbox.sandbox.faults.put([Fault(kind="unavailable", retry_after="0")])
    role = delivery(ehr, ledger)

    def tried_and_repaired() -> bool:
        if len(ehr.observer.requests("Observation.create")) >= 3:
            ehr.sandbox.sandbox.faults.put([])
        return at_rest(ledger)

    await deliver_until(role, tried_and_repaired)
    assert ledger.states() == {NAME: {State.SUCCEEDED: len(PATIENTS) * len(MINUTES)}}
    assert_chart_agrees(ehr, ledger)


async def test_a_crashed_worker_leaves_what_it_wrote_and_nothing_twice(ehr: Ehr) -> None:
    ledger = MemoryLedger()
    intent = ehr.intent("p0")
    ledger.record([intent])
    [claimed] = ledger.claim(NAME, 1, lease_s=0)
    connection = ehr.connect()
    await connection.create(ehr.with_encounter(claimed.intent))
    await connection.close()
    await deliver_until(delivery(ehr, ledger), lambda: at_rest(ledger))
    assert ledger.states() == {NAME: {State.SUCCEEDED: 1}}
    assert_chart_agrees(ehr, ledger)


async def test_a_ledger_that_goes_away_in_the_middle_neither_loses_nor_doubles(ehr: Ehr) -> None:
    ledger = MemoryLedger()
    record_results(ehr, ledger)
    looks_while_away = 0

    def away_after_three_requests() -> bool:
        nonlocal looks_while_away
        ledger.away = len(ehr.observer.requests("Observation.create")) >= 3 and looks_while_away < 5
        looks_while_away += ledger.away
        return not ledger.away and at_rest(ledger)

    await deliver_until(delivery(ehr, ledger), away_after_three_requests)
    assert ("retries_total", {"dependency": "ledger"}) in ehr.observer.counted
    assert ledger.states() == {NAME: {State.SUCCEEDED: len(PATIENTS) * len(MINUTES)}}
    assert_chart_agrees(ehr, ledger)


async def test_what_was_charted_is_audited_once_with_its_outcome(ehr: Ehr) -> None:
    ledger = MemoryLedger(SettlementAudit(RESULT_KINDS))
    record_results(ehr, ledger)
    await deliver_until(delivery(ehr, ledger), lambda: at_rest(ledger))
    assert sorted(str(step.operation_id) for step in ledger.steps) == sorted(ledger.operations)
    assert {(step.action, step.outcome) for step in ledger.steps} == {("observation.charted", "success")}


async def test_a_stop_leaves_nothing_in_progress(ehr: Ehr) -> None:
    ledger = MemoryLedger()
    record_results(ehr, ledger)
    ehr.sandbox.sandbox.faults.put([Fault(kind="slow", delay_s=0.05)])
    await deliver_until(delivery(ehr, ledger), lambda: bool(ledger.history))
    assert State.IN_PROGRESS not in ledger.states()[NAME]
    await deliver_until(delivery(ehr, ledger), lambda: at_rest(ledger))
    assert ledger.states() == {NAME: {State.SUCCEEDED: len(PATIENTS) * len(MINUTES)}}
    assert_chart_agrees(ehr, ledger)
