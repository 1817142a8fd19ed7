"""Plays a recording to Kafka in a thread, at a pace, confirmed and idempotent, and retries until it is confirmed."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import orjson
from confluent_kafka import KafkaError, Producer

from schemas.topics import CONSENTS, PAIRINGS, PATIENTS, READINGS, TopicSpec
from tests.conditions import wait_until
from tests.system.recording import ENDPOINT, PRIVATE, TENANT, Message, Recording, subject_id


class RecordingPlayer:
    """Sends messages in their order. One second of the recording takes `second_s`."""

    def __init__(self, bootstrap_servers: str, prefix: str, second_s: float = 0.25) -> None:
        self._sent = 0
        self._prefix = prefix
        self._second_s = second_s
        self._failed: list[KafkaError] = []
        self._stop, self._hurry = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "linger.ms": 5,
                "reconnect.backoff.max.ms": 500,
                "log_level": 0,
            }
        )

    def admit(self, recording: Recording) -> None:
        """Publish who has which device, who is known where, and who permits it."""
        for device, intervals in recording.pairings.items():
            self._publish(PAIRINGS, device, {"tenant_id": TENANT, "device_id": device, "intervals": intervals})
        for number, patient in enumerate(recording.patients):
            named = {"tenant_id": TENANT, "patient_id": patient}
            self._publish(PATIENTS, patient, named | {"subject_ids": {ENDPOINT: subject_id(patient)}})
            permits: list[Any] = [] if number == PRIVATE else [{"purpose": "vitals"}]
            self._publish(CONSENTS, patient, named | {"status": "active", "permits": permits})
        self._flush()

    def correct(self, device: str, patient: str) -> None:
        """It was this patient's device all along."""
        intervals = [{"patient_id": patient, "from": "2020-01-01T00:00:00Z", "until": None}]
        self._publish(PAIRINGS, device, {"tenant_id": TENANT, "device_id": device, "intervals": intervals})
        self._flush()

    def send(self, messages: Sequence[Message]) -> None:
        """All of it at once; return when it is confirmed."""
        for message in messages:
            self._send(READINGS, message.key, message.value)
            self._producer.poll(0)
        self._flush()

    def play(self, messages: Sequence[Message]) -> None:
        """Begin to send at the recording's pace."""
        self._thread = threading.Thread(target=self._play, args=(messages,), name="recording-player", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Send what is left at once, and return when everything is confirmed."""
        assert self._thread is not None
        assert self._thread.is_alive(), "the load was to last until here"
        self._hurry.set()
        self._thread.join()
        self._flush()

    def go_on(self, messages: int) -> None:
        """Return when it has sent so many more, confirmed or not."""
        enough = self._sent + messages
        wait_until(lambda: self._sent >= enough, 60, what=f"{messages} more messages")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._hurry.set()
        if self._thread is not None:
            self._thread.join()

    def _play(self, messages: Sequence[Message]) -> None:
        second = 0
        for message in messages:
            if message.second > second:
                second = message.second
                self._producer.poll(0)
                self._hurry.wait(self._second_s)
            if self._stop.is_set():
                return
            self._send(READINGS, message.key, message.value)
            self._sent += 1
        self._producer.flush(0)

    def _publish(self, topic: TopicSpec, name: str, value: Mapping[str, Any]) -> None:
        self._send(topic, f"{TENANT}|{name}".encode(), orjson.dumps(value))

    def _send(self, topic: TopicSpec, key: bytes, value: bytes) -> None:
        self._producer.produce(topic.prefixed(self._prefix), value, key, on_delivery=self._delivered)

    def _delivered(self, error: KafkaError | None, _message: object) -> None:
        if error is not None:
            self._failed.append(error)

    def _flush(self) -> None:
        assert self._producer.flush(60) == 0
        assert self._failed == []
