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
