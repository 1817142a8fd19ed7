"""Producer to Kafka: idempotent, confirmed by every in-sync replica, partitioned by murmur2 like Java and aiokafka.

Source of the settings: librdkafka CONFIGURATION.md. Its default partitioner is CRC32, which sends a key to another
partition than the other clients of the topic.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock, Thread
from typing import Any, NoReturn

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import Producer as Client

from schemas.errors import Misconfigured, RecordRefused, RetryLater
from schemas.ports.kafka import Outgoing

_NEVER_TAKEN = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE, KafkaError.INVALID_RECORD})
_NEVER_HELPED_BY_WAITING = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED})
_log = logging.getLogger(__name__)
_ANY_PARTITION = -1
_POLL_S = 0.1


class KafkaProducer:
    """`schemas.ports.Producer` with confluent-kafka. `send` keeps the order of calls; one thread hands records over.

    A producer that librdkafka declares fatally broken is replaced, so that trying again can succeed.
    """

    def __init__(
        self,
        bootstrap: str,
        *,
        prefix: str = "",
        delivery_timeout_s: float = 30.0,
        extra: dict[str, Any] | None = None,
    ) -> None:
        self._prefix = prefix
        self._settings: dict[str, Any] = {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": "lz4",
            "partitioner": "murmur2_random",
            "linger.ms": 1,
            "batch.num.messages": 20_000,
            "batch.size": 1_000_000,
            "message.max.bytes": 8_000_000,  # the topic decides what is too large, not this client
            "queue.buffering.max.messages": 500_000,
            "delivery.timeout.ms": round(delivery_timeout_s * 1000),
            "reconnect.backoff.ms": 250,
            "reconnect.backoff.max.ms": 2_000,
            "topic.metadata.refresh.interval.ms": 60_000,
            "log_level": 3,
        } | (extra or {})
        self._handover = ThreadPoolExecutor(1, thread_name_prefix="produce")
        self._stopped = Event()
        self._broken = Event()
        self._client = self._connect()
        self._poller = Thread(target=self._poll, name="produce-poll", daemon=True)
        self._poller.start()

    async def send(self, records: Sequence[Outgoing]) -> None:
        """Produce all records; returns when each is confirmed. RetryLater if Kafka is unavailable: a retry may repeat some."""
        if not records:
            return
        loop = asyncio.get_running_loop()
        confirmed: asyncio.Future[KafkaError | None] = loop.create_future()

        def report(error: KafkaError | None) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(lambda: None if confirmed.done() else confirmed.set_result(error))

        await loop.run_in_executor(self._handover, self._hand_over, records, _Tally(len(records), report))
        error = await confirmed
        if error is not None:
            _raise(error)

    def close(self, timeout_s: float = 10.0) -> None:
        """Wait for records in flight, then stop."""
        self._handover.shutdown(wait=True)
        self._client.flush(timeout_s)
        self._stopped.set()
        self._poller.join()

    def _connect(self) -> Client:
        return Client(self._settings | {"error_cb": self._errored}, logger=_log)

    def _errored(self, error: KafkaError) -> None:
        if error.fatal():
            self._broken.set()

    def _replace(self) -> None:
        """After a fatal error no record of the old client can succeed; flushing fails their callers."""
        broken, self._client = self._client, self._connect()
        broken.flush(_POLL_S)
        self._broken.clear()

    def _hand_over(self, records: Sequence[Outgoing], tally: _Tally) -> None:
        if self._broken.is_set():
            self._replace()
        for done, record in enumerate(records):
            try:
                self._produce(record, tally)
            except KafkaException as refused:
                self._errored(refused.args[0])
                tally.give_up(len(records) - done, refused.args[0])
                return

    def _produce(self, record: Outgoing, tally: _Tally) -> None:
        topic = record.topic.prefixed(self._prefix)
        partition = _ANY_PARTITION if record.partition is None else record.partition
        while True:
            try:
                self._client.produce(
                    topic, record.value, record.key, partition, tally.delivered, headers=[*record.headers]
                )
            except BufferError:
                self._client.poll(_POLL_S)
            else:
                return

    def _poll(self) -> None:
        while not self._stopped.is_set():
            self._client.poll(_POLL_S)


def _raise(error: KafkaError) -> NoReturn:
    if error.code() in _NEVER_TAKEN:
        raise RecordRefused(f"Kafka permanently rejected a record ({error.name()}); check the topic's settings")
    if error.code() in _NEVER_HELPED_BY_WAITING:
        raise Misconfigured(
            f"Kafka permanently rejected a record ({error.name()}); check the topic's settings and ACLs"
        )
    raise RetryLater(f"Kafka did not confirm a record ({error.name()})")


class _Tally:
    """Counts the confirmations of one `send`: one cheap callback per record instead of a future."""

    def __init__(self, expected: int, report: Callable[[KafkaError | None], None]) -> None:
        self._left = expected
        self._error: KafkaError | None = None
        self._report = report
        self._lock = Lock()

    def delivered(self, error: KafkaError | None, _message: object) -> None:
        """The delivery report of one record."""
        self._settle(1, error)

    def give_up(self, records: int, error: KafkaError) -> None:
        """These records were never accepted for sending."""
        self._settle(records, error)

    def _settle(self, records: int, error: KafkaError | None) -> None:
        with self._lock:
            self._left -= records
            if error is not None:
                self._error = error
            finished = self._left == 0
        if finished:
            self._report(self._error)
