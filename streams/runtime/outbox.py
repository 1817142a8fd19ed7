"""Publishes the ledger's outbox: in order, at least once, each repeat byte for byte the same.

One worker at a time holds the lease. A slow worker that loses it may send what another one sends too; that is harmless,
because a record is exactly what its row says, and a row is deleted only once Kafka has confirmed it. A topic that rejects
records delays no other topic: its rows wait in order and are retried with exponential backoff.
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
from schemas.ports.ledger import Ledger, OutboxRecord
from schemas.ports.observer import Observer
from schemas.topics import AUDIT
from streams.runtime.fail_fast import exit_on_error
from streams.runtime.paused_topics import PausedTopics
from streams.runtime.retry import retry_until_available

T = TypeVar("T")
SHUTDOWN_TIMEOUT_S = 5.0
"""How long a worker that stops waits for Kafka. What Kafka does not confirm stays in the outbox for the next worker."""
EVERY_S = 0.1
LEASE_S = 15.0
AGE_EVERY_S = 1.0
_RECORDS_A_BATCH = 500
_log = logging.getLogger(__name__)


class OutboxPublisher:
    """Publishes the outbox under a lease. `holder` names the process."""

    def __init__(self, ledger: Ledger, producer: Producer, observer: Observer, holder: str) -> None:
        self._ledger = ledger
        self._producer = producer
        self._observer = observer
        self._holder = holder
        self._paused = PausedTopics()

    async def run(self, stop: asyncio.Event, every_s: float = EVERY_S) -> None:
        """Publish until `stop`, then once more, so that what was written until then is sent if Kafka accepts it."""
        while not stop.is_set():
            await self.publish()
            try:
                async with asyncio.timeout(every_s):
                    await stop.wait()
            except TimeoutError:
                continue
        await self.publish()

    async def publish_age(self) -> None:
        """Publish the age of the oldest record until cancelled, also while Kafka is unavailable or rejects records."""
        while True:
            try:
                oldest_s = await asyncio.to_thread(self._ledger.oldest_outbox_age_s)
            except RetryLater:
                self._observer.count("retries_total", dependency="ledger")
            else:
                self._observer.gauge("outbox_age_seconds", oldest_s or 0.0)
            await asyncio.sleep(AGE_EVERY_S)

    async def publish(self) -> None:
        """Publish what waits now, unless another worker holds the lease. The rest of a failing topic is left waiting."""
        if await self._with_ledger(self._ledger.oldest_outbox_age_s) is None:
            return
        while records := await self._next_batch():
            for _, of_topic in groupby(sorted(records, key=_topic), key=_topic):
                await self._send(list(of_topic))

    async def _next_batch(self) -> Sequence[OutboxRecord]:
        paused = self._paused.paused()
        return await self._with_ledger(
            lambda: self._ledger.lease_outbox(self._holder, _RECORDS_A_BATCH, LEASE_S, paused)
        )

    async def _send(self, records: Sequence[OutboxRecord]) -> None:
        """To one topic: together, or, after a failure, one by one, so that no record overtakes one that was rejected."""
        topic = _topic(records[0])
        for part in [[one] for one in records] if self._paused.is_failing(topic) else [records]:
            try:
                await self._producer.send([queued.record for queued in part])
            except (RetryLater, Misconfigured) as refused:
                self._observer.count("retries_total", dependency="kafka")
                if self._paused.failed(topic):
                    _log.error("the outbox keeps records that %s rejects, and retries: %s", topic, refused)
                return
            await self._confirmed(part)
        self._paused.succeeded(topic)

    async def _confirmed(self, records: Sequence[OutboxRecord]) -> None:
        await self._with_ledger(lambda: self._ledger.confirm_sent([queued.id for queued in records]))
        for queued in records:
            if queued.record.topic is AUDIT:
                event = orjson.loads(queued.record.value or b"{}")
                self._observer.count("audit_events_total", action=event["action"], outcome=event["outcome"])

    async def _with_ledger(self, ask: Callable[[], T]) -> T:
        def work() -> Awaitable[T]:
            return asyncio.to_thread(ask)

        return await retry_until_available(work, "ledger", self._observer)


@asynccontextmanager
async def published(publisher: OutboxPublisher, shutdown_timeout_s: float = SHUTDOWN_TIMEOUT_S) -> AsyncIterator[None]:
    """Publish the outbox and its age while the body runs, and what it left afterwards."""
    over = asyncio.Event()
    publishing = asyncio.create_task(exit_on_error(publisher.run(over)))
    publishing_age = asyncio.create_task(exit_on_error(publisher.publish_age()))
    try:
        yield
    finally:
        over.set()
        await asyncio.wait({publishing}, timeout=shutdown_timeout_s)
        publishing.cancel()
        publishing_age.cancel()


def _topic(queued: OutboxRecord) -> str:
    return queued.record.topic.name
