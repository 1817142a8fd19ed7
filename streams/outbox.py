"""The publisher of the ledger's outbox: in order, at least once, each repeat equal to the byte.

One worker at a time holds the lease; whoever is slow and loses it sends what another sends too, which is no harm: a record
is what its row says, and a row goes only when Kafka has confirmed it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import orjson

from schemas.ports import Ledger, Observer, Parcel, Producer
from schemas.topics import AUDIT
from streams.ending import or_end
from streams.insist import insist

T = TypeVar("T")
LAST_WITHIN_S = 5.0
"""How long a worker that stops waits for Kafka. What it does not take stays in the outbox for the next."""
EVERY_S = 0.1
LEASE_S = 15.0
_RECORDS_A_BATCH = 500


class OutboxPublisher:
    """Publishes what the ledger's changes caused. `holder` names the process."""

    def __init__(self, ledger: Ledger, producer: Producer, observer: Observer, holder: str) -> None:
        self._ledger = ledger
        self._producer = producer
        self._observer = observer
        self._holder = holder

    async def run(self, stop: asyncio.Event, every_s: float = EVERY_S) -> None:
        """Until `stop`; what was written until then is published before it returns."""
        while not stop.is_set():
            await self.publish()
            try:
                async with asyncio.timeout(every_s):
                    await stop.wait()
            except TimeoutError:
                continue
        await self.publish()

    async def publish(self) -> None:
        """Everything that waits now, unless another worker publishes."""
        oldest_s = await self._asked(self._ledger.waiting_s)
        self._observer.gauge("outbox_age_seconds", oldest_s or 0.0)
        while oldest_s is not None:
            waiting = await self._asked(lambda: self._ledger.outbox(self._holder, _RECORDS_A_BATCH, LEASE_S))
            parcels, oldest_s = waiting.parcels, waiting.oldest_s
            if parcels:
                await self._send(parcels)

    async def _send(self, parcels: Sequence[Parcel]) -> None:
        await insist(lambda: self._producer.send([parcel.record for parcel in parcels]), "kafka", self._observer)
        await self._asked(lambda: self._ledger.sent([parcel.id for parcel in parcels]))
        for parcel in parcels:
            if parcel.record.topic is AUDIT:
                event = orjson.loads(parcel.record.value or b"{}")
                self._observer.count("audit_events_total", action=event["action"], outcome=event["outcome"])

    async def _asked(self, ask: Callable[[], T]) -> T:
        def work() -> Awaitable[T]:
            return asyncio.to_thread(ask)

        return await insist(work, "ledger", self._observer)


@asynccontextmanager
async def published(publisher: OutboxPublisher) -> AsyncIterator[None]:
    """Publish beside what is done within, and what it left."""
    over = asyncio.Event()
    publishing = asyncio.create_task(or_end(publisher.run(over)))
    try:
        yield
    finally:
        over.set()
        await asyncio.wait({publishing}, timeout=LAST_WITHIN_S)
        publishing.cancel()
