"""A token server that is away refuses nobody: what waits for it is deferred, and charted when it is back."""

from pathlib import Path

import pytest

from schemas.operation import State
from testbed.sandbox_ehr.faults import Fault
from tests.delivering import at_rest, deliver_until, delivery
from tests.doubles.memory_ledger import MemoryLedger
from tests.ehrs import NAME, sandbox_ehr

ENOUGH = 12


@pytest.mark.parametrize("kind", ["unavailable", "throttled"])
async def test_a_token_server_that_is_away_for_long_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("streams.delivery.verdict.UNAUTHORIZED_ATTEMPTS", 3)
    monkeypatch.setattr("streams.runtime.backoff.FIRST_S", 0.001)
    with sandbox_ehr("oracle-health", tmp_path) as ehr:
        ehr.seed("p0")
        ledger = MemoryLedger()
        ledger.record([ehr.intent("p0")])
        faults = ehr.sandbox.sandbox.faults
        faults.put([Fault(kind=kind, operation="token", count=ENOUGH, retry_after="0")])
        await deliver_until(delivery(ehr, ledger), lambda: at_rest(ledger))
        assert faults.struck == {kind: ENOUGH}
        told = [outcome for outcome in ledger.history["op-1"] if outcome.code != "endpoint_paused"]
        assert {outcome.code for outcome in told[:-1]} == {"unavailable"}
        assert ledger.states() == {NAME: {State.SUCCEEDED: 1}}
        assert len(ehr.observations("p0")) == 1


async def test_a_token_server_is_left_alone_for_as_long_as_it_asks(tmp_path: Path) -> None:
    with sandbox_ehr("oracle-health", tmp_path) as ehr:
        ehr.seed("p0")
        ledger = MemoryLedger()
        ledger.record([ehr.intent("p0")])
        ehr.sandbox.sandbox.faults.put([Fault(kind="unavailable", operation="token", retry_after="120")])
        await deliver_until(delivery(ehr, ledger), lambda: bool(ledger.history.get("op-1")))
        (outcome,) = ledger.history["op-1"]
        assert (outcome.state, outcome.code) == (State.DEFERRED, "unavailable")
        assert outcome.retry_after_s is not None
        assert outcome.retry_after_s > 110
