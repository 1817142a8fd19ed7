"""A result is filed under the encounter of the moment it was measured, also when another was looked up first."""

from datetime import timedelta
from pathlib import Path

from schemas.operation import State
from tests.delivering import at_rest, deliver_until, delivery
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
        await deliver_until(delivery(ehr, ledger), lambda: at_rest(ledger))
        before, within = ledger.operations.values()
        assert (before.state, before.code) == (State.HELD, "no_encounter")
        assert within.state is State.SUCCEEDED
        assert [o["encounter"]["reference"] for o in ehr.observations("p0")] == ["Encounter/day"]


async def test_what_was_looked_up_before_a_stay_began_does_not_tell_of_readings_after_it(tmp_path: Path) -> None:
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
