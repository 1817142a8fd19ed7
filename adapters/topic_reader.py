"""Reading whole topics again, from the first record to the end as it was when asked; joins no group, commits nothing."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.errors import RetryLater
from schemas.ports import Stored
from schemas.topics import TopicSpec

_CHUNK = 10_000
_POLL_S = 0.1
_SILENCE_S = 30.0
_ANSWER_S = 10.0


class KafkaTopicReader:
    """`schemas.ports.TopicReader` with confluent-kafka."""

    def __init__(self, bootstrap: str, *, prefix: str = "", extra: dict[str, Any] | None = None) -> None:
        self._prefix = prefix
        self._settings = {
            "bootstrap.servers": bootstrap,
            "group.id": "vitalwire-reader-never-joined",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "log_level": 3,
        } | (extra or {})

    def read(self, topic: TopicSpec) -> Iterator[Stored]:
        """Every record up to what is the end now. RetryLater when the broker does not answer."""
        consumer = Consumer(self._settings)
        try:
            yield from _read(consumer, topic.prefixed(self._prefix))
        except KafkaException as error:
            raise RetryLater(f"{topic.name} could not be read ({error.args[0].name()})") from None
        finally:
            consumer.close()


def _read(consumer: Consumer, topic: str) -> Iterator[Stored]:
    left = _ends(consumer, topic)
    consumer.assign([TopicPartition(topic, number, first) for number, (first, _) in left.items()])
    heard_at = monotonic()
    while left:
        messages = consumer.consume(_CHUNK, _POLL_S)
        if messages:
            heard_at = monotonic()
        elif monotonic() - heard_at > _SILENCE_S:
            raise RetryLater("the broker fell silent in the middle of a topic")
        for message in messages:
            number, end = message.partition(), left.get(message.partition(), (0, 0))[1]
            if not _is_end(message) and message.offset() < end:
                yield Stored(number, message.offset(), message.key(), message.value())
            # What compaction and transactions removed before the end is passed over, not waited for.
            if _is_end(message) or message.offset() + 1 >= end:
                left.pop(number, None)


def _is_end(message: Message) -> bool:
    error = message.error()
    if error is not None and error.code() != KafkaError._PARTITION_EOF:
        raise KafkaException(error)
    return error is not None


def _ends(consumer: Consumer, topic: str) -> dict[int, tuple[int, int]]:
    described = consumer.list_topics(topic, timeout=_ANSWER_S).topics[topic]
    if described.error:
        raise KafkaException(described.error)
    ends = {n: consumer.get_watermark_offsets(TopicPartition(topic, n), _ANSWER_S) for n in described.partitions}
    return {number: (first, end) for number, (first, end) in ends.items() if end > first}
