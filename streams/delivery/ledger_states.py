"""Publishes the number of operations by endpoint and state as `ledger_operations`, every few seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from schemas.errors import RetryLater
from schemas.operation import State
from schemas.ports.ledger import Ledger
from schemas.ports.observer import Observer

EVERY_S = 10.0


async def publish_states(
    ledger: Ledger, endpoints: Collection[str], observer: Observer, stop: asyncio.Event, every_s: float = EVERY_S
) -> None:
    """Runs until `stop`. Every state of every endpoint has a value, so that an empty state is reported as 0."""
    while not stop.is_set():
        try:
            counts = await asyncio.to_thread(ledger.states)
        except RetryLater:
            observer.count("retries_total", dependency="ledger")
        else:
            for endpoint in counts.keys() | set(endpoints):
                for state in State:
                    number = counts.get(endpoint, {}).get(state, 0)
                    observer.gauge("ledger_operations", number, endpoint=endpoint, state=str(state))
        try:
            async with asyncio.timeout(every_s):
                await stop.wait()
        except TimeoutError:
            continue
