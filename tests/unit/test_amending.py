"""What an attempt is to write where an earlier result of the same window is known, or was."""

from mappings.observation.kind import OBSERVATION
from schemas.endpoint_kinds import DEFAULTS
from schemas.operation import State
from streams.delivery.amending import WritePlan, plan_write
from streams.delivery.verdict import Verdict
from tests.doubles.ledgers import done, intent
from tests.doubles.memory_ledger import MemoryLedger

ENDPOINT = "north-epic"


async def amended(state: State, *, forgotten: bool = False) -> WritePlan | Verdict:
    """The plan of a second result, where the first ended so."""
    ledger = MemoryLedger()
    ledger.record([intent("w1"), intent("w1", content="c2")])
    (first,) = ledger.claim(ENDPOINT, 1, 60)
    ledger.settle({first.operation_id: done(state, resource_id="o-1", version="1")})
    (second,) = ledger.claim(ENDPOINT, 1, 60)
    if forgotten:
        del ledger.operations[first.operation_id]
    return await plan_write(second, OBSERVATION, DEFAULTS["fhir"].observation, ledger)


async def test_a_later_result_replaces_the_one_in_the_chart() -> None:
    planned = await amended(State.SUCCEEDED)
    assert isinstance(planned, WritePlan)
    assert (planned.action, planned.target) == ("update", ("o-1", "1"))


async def test_a_later_result_is_new_where_the_earlier_one_was_refused() -> None:
    planned = await amended(State.FAILED)
    assert isinstance(planned, WritePlan)
    assert (planned.action, planned.target) == ("create", None)


async def test_a_later_result_is_never_new_where_the_earlier_one_is_known_no_more() -> None:
    planned = await amended(State.SUCCEEDED, forgotten=True)
    assert isinstance(planned, Verdict)
    assert (planned.state, planned.code) == (State.HELD, "amends_forgotten")
