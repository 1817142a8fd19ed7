"""Delivery for patients whose encounter is missing or has closed."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from schemas.operation import State
from tests.delivering import QUICK, at_rest, deliver_until, delivery
from tests.doubles.memory_ledger import MemoryLedger
from tests.ehrs import NAME, now, sandbox_ehr


async def test_a_patient_without_an_encounter_waits_and_is_charted_when_there_is_one(tmp_path: Path) -> None:
    with sandbox_ehr("epic", tmp_path) as ehr:
        ehr.sandbox.seed("p0", encounter=None)
        ledger = MemoryLedger()
        ledger.record([ehr.intent("p0")])
        role = delivery(ehr, ledger)

        def admitted() -> bool:
            if ledger.operations["op-1"].code == "no_encounter":
                ehr.seed("p0")
            return at_rest(ledger)

        await deliver_until(role, admitted)
        assert ledger.states() == {NAME: {State.SUCCEEDED: 1}}


async def test_a_patient_long_without_an_encounter_is_held_for_a_person(tmp_path: Path) -> None:
    with sandbox_ehr("epic", tmp_path) as ehr:
        ehr.sandbox.seed("p0", encounter="finished")
        ledger = MemoryLedger()
        ledger.record([ehr.intent("p0")], now=now() - timedelta(hours=1))
        await deliver_until(delivery(ehr, ledger, pace=replace(QUICK, encounter_wait_s=0.0)), lambda: at_rest(ledger))
        assert (ledger.operations["op-1"].state, ledger.operations["op-1"].code) == (State.HELD, "no_encounter")


async def test_an_encounter_that_closed_is_looked_up_again(tmp_path: Path) -> None:
    with sandbox_ehr("epic", tmp_path) as ehr:
        ehr.seed("p0")
        ledger = MemoryLedger()
        ledger.record([ehr.intent("p0", minute=0), ehr.intent("p0", minute=1)])
        role = delivery(ehr, ledger)

        def transferred() -> bool:
            if ledger.operations["op-1"].state is State.SUCCEEDED:
                ehr.sandbox.sandbox.store.by_type["Encounter"]["enc-p0"]["status"] = "finished"
                ehr.sandbox.seed("p0", encounter_id="enc-next")
            return at_rest(ledger)

        await deliver_until(role, transferred)
        assert ledger.states() == {NAME: {State.SUCCEEDED: 2}}
