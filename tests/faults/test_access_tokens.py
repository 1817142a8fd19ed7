"""Delivery while the EHR or its token server refuses access tokens."""

from pathlib import Path

import pytest

from schemas.operation import State
from testbed.sandbox_ehr.faults import Fault
from tests.delivering import at_rest, deliver_until, delivery
from tests.doubles.memory_ledger import MemoryLedger
from tests.ehrs import NAME, now, sandbox_ehr
from tests.faults.charting import MINUTES, PATIENTS, assert_chart_agrees, record_results


@pytest.mark.parametrize("profile", ["epic", "oracle-health"])
async def test_a_token_that_the_ehr_forgets_is_replaced_once_and_nobody_notices(tmp_path: Path, profile: str) -> None:
    with sandbox_ehr(profile, tmp_path) as ehr:
        for patient in PATIENTS:
            ehr.seed(patient)
        ledger = MemoryLedger()
        record_results(ehr, ledger)
        ehr.sandbox.sandbox.faults.put([Fault(kind="expired_token", count=1, after=4)])
        await deliver_until(delivery(ehr, ledger), lambda: at_rest(ledger))
        assert ehr.sandbox.sandbox.login.granted == 2
        assert ledger.states() == {NAME: {State.SUCCEEDED: len(PATIENTS) * len(MINUTES)}}
        assert_chart_agrees(ehr, ledger)


async def test_a_token_first_refused_after_many_other_failures_is_tried_again(tmp_path: Path) -> None:
    with sandbox_ehr("oracle-health", tmp_path) as ehr:
        ehr.seed("p0")
        ledger = MemoryLedger()
        ledger.record([ehr.intent("p0")], now=now())
        ledger.operations["op-1"] = ledger.operations["op-1"].model_copy(update={"attempts": 10, "code": "throttled"})
        ehr.sandbox.sandbox.faults.put([Fault(kind="unauthorized", count=2)])
        await deliver_until(delivery(ehr, ledger), lambda: at_rest(ledger))
        assert ehr.sandbox.sandbox.faults.struck == {"unauthorized": 2}
        assert [o.code for o in ledger.history["op-1"]] == ["unauthorized", None]
        assert len(ehr.observations("p0")) == 1


async def test_a_token_refused_repeatedly_holds_the_operation_for_manual_review(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.delivery.verdict.UNAUTHORIZED_ATTEMPTS", 3)
    monkeypatch.setattr("streams.runtime.backoff.FIRST_S", 0.001)
    with sandbox_ehr("oracle-health", tmp_path) as ehr:
        ehr.seed("p0")
        ledger = MemoryLedger()
        ledger.record([ehr.intent("p0")], now=now())
        ehr.sandbox.sandbox.faults.put([Fault(kind="unauthorized")])
        await deliver_until(delivery(ehr, ledger), lambda: at_rest(ledger))
        assert [o.state for o in ledger.history["op-1"]] == [State.DEFERRED, State.DEFERRED, State.HELD]
        assert ledger.operations["op-1"].code == "unauthorized"


async def test_a_token_server_that_is_away_refuses_nobody_however_long_it_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.delivery.verdict.UNAUTHORIZED_ATTEMPTS", 3)
    monkeypatch.setattr("streams.runtime.backoff.FIRST_S", 0.001)
    with sandbox_ehr("oracle-health", tmp_path) as ehr:
        ehr.seed("p0")
        ledger = MemoryLedger()
        ledger.record([ehr.intent("p0")], now=now())
        ehr.sandbox.sandbox.faults.put([Fault(kind="unavailable", operation="token", count=6)])
        await deliver_until(delivery(ehr, ledger), lambda: at_rest(ledger))
        assert ehr.sandbox.sandbox.faults.struck == {"unavailable": 6}
        assert ledger.operations["op-1"].state is State.SUCCEEDED
        assert {o.code for o in ledger.history["op-1"]} <= {"unavailable", "endpoint_paused", None}
