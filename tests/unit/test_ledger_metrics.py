import asyncio

import pytest

from adapters.ledger import ObservedLedger
from adapters.metrics import PrometheusObserver
from schemas.errors import RetryLater
from schemas.operation import Outcome, State
from streams.delivery.ledger_states import publish_states
from tests.conditions import until
from tests.doubles.ledgers import intent, reported_windows
from tests.doubles.memory_ledger import MemoryLedger


def seen(observer: PrometheusObserver, name: str, **labels: str) -> float | None:
    return observer.registry.get_sample_value(f"vitalwire_{name}", labels)


async def test_every_state_of_every_endpoint_is_published_and_an_emptied_state_is_published_as_zero():
    ledger, observer, stop = MemoryLedger(), PrometheusObserver(), asyncio.Event()
    ledger.record([intent()])
    (claimed,) = ledger.claim("north-epic", 1, 60)
    telling = asyncio.create_task(publish_states(ledger, ["north-epic", "quiet"], observer, stop, 0.001))

    await until(lambda: seen(observer, "ledger_operations", endpoint="north-epic", state="in_progress") == 1)
    assert [seen(observer, "ledger_operations", endpoint="quiet", state=state) for state in State] == [0] * len(State)
    ledger.settle({claimed.operation_id: Outcome(fence=claimed.fence, state=State.HELD)})
    await until(lambda: seen(observer, "ledger_operations", endpoint="north-epic", state="held") == 1)
    assert seen(observer, "ledger_operations", endpoint="north-epic", state="in_progress") == 0

    stop.set()
    await telling


async def test_a_database_that_is_away_is_counted_and_asked_again():
    ledger, observer, stop = MemoryLedger(), PrometheusObserver(), asyncio.Event()
    ledger.record([intent()])
    ledger.away = True
    telling = asyncio.create_task(publish_states(ledger, [], observer, stop, 0.001))

    await until(lambda: bool(seen(observer, "retries_total", dependency="ledger")))
    ledger.away = False
    await until(lambda: seen(observer, "ledger_operations", endpoint="north-epic", state="pending") == 1)

    stop.set()
    await telling


def test_every_call_of_the_ledger_is_timed_and_answers_as_the_ledger_does():
    plain, observer = MemoryLedger(), PrometheusObserver()
    ledger = ObservedLedger(plain, observer)

    (recorded,) = ledger.record([intent(sources=2)])
    (claimed,) = ledger.claim("north-epic", 1, 60)
    ledger.settle({claimed.operation_id: Outcome(fence=claimed.fence, state=State.SUCCEEDED)})

    assert ledger.operation(recorded.operation_id) == plain.operations[claimed.operation_id]
    assert ledger.states() == {"north-epic": {State.SUCCEEDED: 1}}
    assert reported_windows(ledger) == {"w1-0", "w1-1"}
    calls = ("record", "claim", "settle", "operation", "states", "window_ids")
    assert [seen(observer, "ledger_seconds_count", call=call) for call in calls] == [1] * len(calls)


def test_a_call_that_fails_is_timed_too():
    plain, observer = MemoryLedger(), PrometheusObserver()
    plain.away = True

    with pytest.raises(RetryLater):
        ObservedLedger(plain, observer).states()
    assert seen(observer, "ledger_seconds_count", call="states") == 1
