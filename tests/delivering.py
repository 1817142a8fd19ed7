"""Delivery of one endpoint over a ledger in memory, run until something is true."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from mappings.result_kind import AnyResultKind
from mappings.result_kinds import RESULT_KINDS
from schemas.config import Endpoint
from schemas.operation import TERMINAL, State
from schemas.ports.ehr import EhrEndpoint
from schemas.ports.ledger import Ledger
from schemas.ports.observer import Observer
from streams.delivery.observing import DeliveryMetrics
from streams.delivery.ports import DeliveryPorts, Reviewing
from streams.delivery.role import Delivery, Pace
from tests.doubles.memory_ledger import MemoryLedger
from tests.ehrs import NAME, Ehr, now

QUICK = Pace(search_delays_s=(0.0, 0.02, 0.05), poll_s=0.005)
RESTING = TERMINAL | {State.HELD}


def delivery(ehr: Ehr, ledger: Ledger, pace: Pace = QUICK, timeout_s: float = 0.5, **options: Any) -> Delivery:
    connection = ehr.connect(timeout_s=timeout_s, **options.pop("capabilities", {}))
    return endpoint_delivery(connection, ehr.endpoint(timeout_s=timeout_s), ledger, ehr.observer, pace=pace, **options)


def endpoint_delivery(
    connection: EhrEndpoint,
    endpoint: Endpoint,
    ledger: Ledger,
    observer: Observer,
    *,
    pace: Pace = QUICK,
    review: Reviewing = lambda operation, at: None,
    result_kinds: Mapping[str, AnyResultKind] = RESULT_KINDS,
) -> Delivery:
    ports = DeliveryPorts(
        endpoint=NAME,
        kind=endpoint.kind,
        capabilities=endpoint.matrix,
        ehr=connection,
        ledger=ledger,
        review=review,
        clock=now,
        result_kinds=result_kinds,
    )
    return Delivery(ports, DeliveryMetrics(NAME, observer, now), pace=pace)


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
