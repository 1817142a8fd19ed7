"""However patient with an EHR: its results are sent, and one that waited too long in a worker does not go round and round."""

from pathlib import Path

from mappings.linting import check_config
from schemas.capabilities import LONGEST_TIMEOUT_S
from schemas.operation import State
from streams.delivery.role import Pace
from tests.delivering import at_rest, deliver_until, delivery
from tests.doubles.memory_ledger import MemoryLedger
from tests.ehrs import NAME, sandbox_ehr

CONFIG = """endpoints:
  north:
    kind: fhir
    base_url: https://ehr.example/r4
    capabilities:
      timeout_s: {seconds}
tenants:
  north:
    endpoints: [north]
"""


def test_a_time_out_for_which_no_lease_is_long_enough_is_named_by_the_check() -> None:
    def found(seconds: float) -> list[str]:
        text = CONFIG.format(seconds=seconds)
        return [finding.message for finding in check_config(text, "vitalwire.yaml", lambda _: None)]

    assert found(LONGEST_TIMEOUT_S) == []
    (message,) = found(80)
    assert "60" in message


async def test_with_the_longest_time_out_results_are_sent(tmp_path: Path) -> None:
    with sandbox_ehr("fhir", tmp_path) as ehr:
        ehr.seed("p0")
        ledger = MemoryLedger()
        ledger.record([ehr.intent("p0")])
        role = delivery(ehr, ledger, pace=Pace(), timeout_s=LONGEST_TIMEOUT_S)
        await deliver_until(role, lambda: at_rest(ledger))
        assert ledger.states() == {NAME: {State.SUCCEEDED: 1}}
        assert len(ledger.history["op-1"]) == 1


async def test_what_waited_too_long_in_a_worker_waits_before_it_is_claimed_again(tmp_path: Path) -> None:
    with sandbox_ehr("fhir", tmp_path) as ehr:
        ehr.seed("p0")
        ledger = MemoryLedger()
        ledger.record([ehr.intent("p0")])
        role = delivery(ehr, ledger, pace=Pace(lease_s=5.0), timeout_s=2.0)
        await deliver_until(role, lambda: len(ledger.history.get("op-1", ())) > 1)
        assert {told.code for told in ledger.history["op-1"]} <= {"lease_short", "stopping"}
        first, *_ = ledger.history["op-1"]
        assert first.code == "lease_short"
        assert first.retry_after_s is not None
        assert first.retry_after_s >= 0.25
