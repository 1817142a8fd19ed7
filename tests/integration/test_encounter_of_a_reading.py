"""A result is filed under the encounter of the moment it was measured, also when another was looked up first."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from schemas.operation import State
from tests.delivering import QUICK, at_rest, deliver_until, delivery
from tests.doubles.memory_ledger import MemoryLedger
from tests.ehrs import START, now, sandbox_ehr

NINE = START.replace(hour=9)


async def test_a_reading_of_half_past_eight_never_gets_the_stay_that_began_at_nine(tmp_path: Path) -> None:
    with sandbox_ehr("epic", tmp_path) as ehr:
        ehr.sandbox.seed("p0", encounter_id="day", started=NINE.isoformat())
        connection = ehr.connect()
        later, _ = await connection.active_encounter("p0", NINE + timedelta(minutes=30))
        earlier, answer = await connection.active_encounter("p0", NINE - timedelta(minutes=30))
        assert (later, earlier) == ("Encounter/day", None)
        assert answer is not None
        assert (await connection.active_encounter("p0", NINE))[0] == "Encounter/day"
        await connection.close()


async def test_the_last_window_before_a_stay_is_not_filed_under_it(tmp_path: Path) -> None:
    with sandbox_ehr("epic", tmp_path) as ehr:
        ehr.sandbox.seed("p0", encounter_id="day", started=NINE.isoformat())
        ledger = MemoryLedger()
        ledger.record([ehr.intent("p0", minute=-61), ehr.intent("p0", minute=-60)], now=now() - timedelta(hours=1))
        role = delivery(ehr, ledger, pace=replace(QUICK, encounter_wait_s=0.0))
        await deliver_until(role, lambda: at_rest(ledger))
        before, within = ledger.operations.values()
        assert (before.state, before.code) == (State.HELD, "no_encounter")
        assert within.state is State.SUCCEEDED
        assert [o["encounter"]["reference"] for o in ehr.observations("p0")] == ["Encounter/day"]


async def test_an_encounter_looked_up_before_a_stay_began_is_not_used_for_later_readings(tmp_path: Path) -> None:
    with sandbox_ehr("epic", tmp_path) as ehr:
        begins = now() + timedelta(seconds=30)
        ehr.sandbox.seed("p0", encounter_id="visit", started=(begins - timedelta(hours=1)).isoformat())
        connection = ehr.connect()
        before, _ = await connection.active_encounter("p0", now() - timedelta(seconds=5))
        ehr.sandbox.seed("p0", encounter_id="stay", started=begins.isoformat())
        after, asked = await connection.active_encounter("p0", begins + timedelta(seconds=30))
        await connection.close()
        assert (before, after) == ("Encounter/visit", "Encounter/stay")
        assert asked is not None


async def test_a_stay_that_began_after_the_last_search_is_found_for_a_reading_in_it(tmp_path: Path) -> None:
    with sandbox_ehr("epic", tmp_path) as ehr:
        ehr.sandbox.seed("p0", encounter_id="visit", started=(now() - timedelta(hours=1)).isoformat())
        connection = ehr.connect()
        before, _ = await connection.active_encounter("p0", now())
        begun = now()
        ehr.sandbox.seed("p0", encounter_id="stay", started=begun.isoformat())
        within, answer = await connection.active_encounter("p0", begun)
        await connection.close()
        assert (before, within) == ("Encounter/visit", "Encounter/stay")
        assert answer is not None


async def test_a_result_that_waited_long_for_other_reasons_is_looked_for_more_than_once(tmp_path: Path) -> None:
    with sandbox_ehr("epic", tmp_path) as ehr:
        ehr.sandbox.seed("p0", encounter="finished")
        ledger = MemoryLedger()
        ledger.record([ehr.intent("p0")], now=now() - timedelta(hours=1))
        await deliver_until(delivery(ehr, ledger), lambda: len(ledger.history.get("op-1", ())) > 1)
        assert {(told.state, told.code) for told in ledger.history["op-1"]} <= {
            (State.DEFERRED, "no_encounter"),
            (State.DEFERRED, "stopping"),
        }
