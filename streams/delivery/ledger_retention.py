"""Keeping the ledger small: the delivery role forgets what is old enough, a small batch at a time."""

from __future__ import annotations

import asyncio

from schemas.config import LedgerKeeping
from schemas.errors import RetryLater
from schemas.ports.ledger import Ledger
from schemas.ports.observer import Observer

EVERY_S = 60.0


async def enforce_retention(
    ledger: Ledger, keeping: LedgerKeeping, observer: Observer, stop: asyncio.Event, every_s: float = EVERY_S
) -> None:
    """Until `stop`."""
    while not stop.is_set():
        try:
            more = True
            while more and not stop.is_set():
                more = await asyncio.to_thread(ledger.purge_expired, keeping)
        except RetryLater:
            observer.count("retries_total", dependency="ledger")
        try:
            async with asyncio.timeout(every_s):
                await stop.wait()
        except TimeoutError:
            continue
