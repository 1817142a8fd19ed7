"""The publisher of the ledger's outbox: in order, at least once, each repeat equal to the byte.

One worker at a time holds the lease; whoever is slow and loses it sends what another sends too, which is no harm: a record
is what its row says, and a row goes only when Kafka has confirmed it. A topic that takes nothing holds back no other, and
nobody's work: its rows wait, the first at the head, and are tried again with growing pauses.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import groupby
from typing import TypeVar

import orjson

from schemas.errors import Misconfigured, RetryLater
from schemas.ports.kafka import Producer
from schemas.ports.ledger import Ledger, Parcel
from schemas.ports.observer import Observer
from schemas.topics import AUDIT
from streams.runtime.fail_fast import exit_on_error
from streams.runtime.resting_topics import Resting
from streams.runtime.retry import retry_until_available

T = TypeVar("T")
LAST_WITHIN_S = 5.0
"""How long a worker that stops waits for Kafka. What it does not take stays in the outbox for the next."""
EVERY_S = 0.1
LEASE_S = 15.0
TOLD_EVERY_S = 1.0
_RECORDS_A_BATCH = 500
_log = logging.getLogger(__name__)


class OutboxPublisher:
    """Publishes what the ledger's changes caused. `holder` names the process."""

    def __init__(self, ledger: Ledger, producer: Producer, observer: Observer, holder: str) -> None:
        self._ledger = ledger
        self._producer = producer
        self._observer = observer
        self._holder = holder
        self._resting = Resting()

    async def run(self, stop: asyncio.Event, every_s: float = EVERY_S) -> None:
        """Until `stop`; what was written until then is published before it returns, where Kafka takes it."""
        while not stop.is_set():
            await self.publish()
            try:
                async with asyncio.timeout(every_s):
                    await stop.wait()
            except TimeoutError:
                continue
        await self.publish()

    async def tell_age(self) -> None:
        """How long the oldest has waited, for as long as this lives: also while Kafka refuses, or does not answer."""
        while True:
            try:
                oldest_s = await asyncio.to_thread(self._ledger.waiting_s)
            except RetryLater:
                self._observer.count("retries_total", dependency="ledger")
            else:
                self._observer.gauge("outbox_age_seconds", oldest_s or 0.0)
            await asyncio.sleep(TOLD_EVERY_S)

    async def publish(self) -> None:
        """What waits now, unless another worker publishes; of a topic that takes nothing the rest is left waiting."""
        if await self._asked(self._ledger.waiting_s) is None:
            return
        while parcels := await self._due():
            for _, of_topic in groupby(sorted(parcels, key=_topic), key=_topic):
                await self._send(list(of_topic))

    async def _due(self) -> Sequence[Parcel]:
        resting = self._resting.now()
        return await self._asked(lambda: self._ledger.outbox(self._holder, _RECORDS_A_BATCH, LEASE_S, resting))

    async def _send(self, parcels: Sequence[Parcel]) -> None:
        """To one topic: together, or, after trouble, one by one, so that nothing is sent while one before it is not taken."""
        topic = _topic(parcels[0])
        for part in [[one] for one in parcels] if self._resting.is_troubled(topic) else [parcels]:
            try:
                await self._producer.send([parcel.record for parcel in part])
            except (RetryLater, Misconfigured) as refused:
                self._observer.count("retries_total", dependency="kafka")
                if self._resting.begin(topic):
                    _log.error("the outbox keeps what %s does not take, and tries again: %s", topic, refused)
                return
            await self._confirmed(part)
        self._resting.over(topic)

    async def _confirmed(self, parcels: Sequence[Parcel]) -> None:
        await self._asked(lambda: self._ledger.sent([parcel.id for parcel in parcels]))
        for parcel in parcels:
            if parcel.record.topic is AUDIT:
                event = orjson.loads(parcel.record.value or b"{}")
                self._observer.count("audit_events_total", action=event["action"], outcome=event["outcome"])

    async def _asked(self, ask: Callable[[], T]) -> T:
        def work() -> Awaitable[T]:
            return asyncio.to_thread(ask)

        return await retry_until_available(work, "ledger", self._observer)


@asynccontextmanager
async def published(publisher: OutboxPublisher, last_within_s: float = LAST_WITHIN_S) -> AsyncIterator[None]:
    """Publish beside what is done within, and what it left; and tell how long the oldest has waited."""
    over = asyncio.Event()
    publishing = asyncio.create_task(exit_on_error(publisher.run(over)))
    telling = asyncio.create_task(exit_on_error(publisher.tell_age()))
    try:
        yield
    finally:
        over.set()
        await asyncio.wait({publishing}, timeout=last_within_s)
        publishing.cancel()
        telling.cancel()


def _topic(parcel: Parcel) -> str:
    return parcel.record.topic.name
