"""Plays the ward's script in real time: each message to Kafka at its send time, with its position in the log recorded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from threading import Event, Thread

from confluent_kafka import KafkaError, Message, Producer

from schemas.errors import RetryLater
from schemas.ports.kafka import Outgoing
from testbed.ward.sending import Sent
from vitalwire.demo.outcomes import LogPosition

POLL_S = 0.05
FLUSH_S = 30.0

Delivered = Callable[[LogPosition, Sent], None]


class Player:
    """A thread that plays a script until its end, or until `stop`."""

    def __init__(self, bootstrap_servers: str, prefix: str, delivered: Delivered) -> None:
        self._prefix = prefix
        self._delivered = delivered
        self._failed: KafkaError | None = None
        self._stop = Event()
        self._thread: Thread | None = None
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "linger.ms": 5,
                "log_level": 0,
            }
        )

    def publish(self, records: Iterable[Outgoing]) -> None:
        """Send reference data and wait until Kafka confirms it."""
        for record in records:
            self._producer.produce(
                record.topic.prefixed(self._prefix), record.value, record.key, on_delivery=self._noted
            )
        self._flush()

    def play(self, script: Iterator[Sent]) -> None:
        """Start playing in a thread."""
        self._thread = Thread(target=self._play, args=(script,), name="ward", daemon=True)
        self._thread.start()

    @property
    def over(self) -> bool:
        """Whether the script has ended."""
        return self._thread is not None and not self._thread.is_alive()

    def stop(self) -> None:
        """Stop sending, and return when Kafka has confirmed all records."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._flush()

    def _play(self, script: Iterator[Sent]) -> None:
        for sent in script:
            while (wait_s := sent.at.timestamp() - time.time()) > 0:
                self._producer.poll(min(wait_s, POLL_S))
                if self._stop.is_set():
                    return
            if self._stop.is_set():
                return
            self._producer.produce(
                sent.topic.prefixed(self._prefix), sent.value, sent.key.encode(), on_delivery=self._noting(sent)
            )
        self._producer.flush(FLUSH_S)

    def _noting(self, sent: Sent) -> Callable[[KafkaError | None, Message], None]:
        def note(error: KafkaError | None, message: Message) -> None:
            self._noted(error, message)
            if error is None:
                self._delivered(LogPosition(message.partition() or 0, message.offset() or 0), sent)

        return note

    def _noted(self, error: KafkaError | None, _: Message) -> None:
        self._failed = self._failed or error

    def _flush(self) -> None:
        left = self._producer.flush(FLUSH_S)
        if left or self._failed is not None:
            raise RetryLater(
                "The broker did not confirm every record of the ward. See broker.log among the demo's files."
            )
