"""Delivery of one endpoint over a ledger in memory, run until something is true."""

import asyncio
from collections.abc import Callable
from typing import Any

from schemas.operation import TERMINAL, State
from schemas.ports.ledger import Ledger
from streams.delivery.role import Delivery, Pace
from tests.doubles.memory_ledger import MemoryLedger
from tests.ehrs import NAME, Ehr, now

QUICK = Pace(search_delays_s=(0.0, 0.02, 0.05), poll_s=0.005)
RESTING = TERMINAL | {State.HELD}


def delivery(ehr: Ehr, ledger: Ledger, pace: Pace = QUICK, timeout_s: float = 0.5, **options: Any) -> Delivery:
    return Delivery(
        NAME,
        ehr.connect(timeout_s=timeout_s, **options.pop("capabilities", {})),
        ledger,
        ehr.endpoint(timeout_s=timeout_s).matrix,
        now,
        ehr.observer,
        options.pop("review", lambda operation, at: None),
        kind=ehr.endpoint().kind,
        pace=pace,
    )


async def deliver_until(role: Delivery, condition: Callable[[], bool], timeout_s: float = 60) -> None:
    stop = asyncio.Event()
    running = asyncio.create_task(role.run(stop))
    try:
        async with asyncio.timeout(timeout_s):
            while not condition():
                assert not running.done(), running
                await asyncio.sleep(0.005)
    finally:
        stop.set()
        await running


def at_rest(ledger: MemoryLedger) -> bool:
    return all(operation.state in RESTING for operation in ledger.operations.values())
