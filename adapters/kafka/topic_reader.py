"""Reads whole topics, from the first record to the end at the time of the request; joins no group, commits nothing."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.errors import RetryLater
from schemas.ports.kafka import ConsumedRecord
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
            "fetch.wait.max.ms": 20,
            "log_level": 3,
        } | (extra or {})

    def read(
        self, topic: TopicSpec, partition: int | None = None, since_ms: int | None = None
    ) -> Iterator[ConsumedRecord]:
        """Every record (of `since_ms` or later), of one partition or all, up to its end. RetryLater if Kafka is unavailable."""
        consumer = Consumer(self._settings)
        try:
            name = topic.prefixed(self._prefix)
            numbers = _partitions(consumer, name) if partition is None else {partition}
            places = [TopicPartition(name, number, OFFSET_BEGINNING) for number in numbers]
            yield from _read(consumer, places if since_ms is None else _dated(consumer, places, since_ms))
        except KafkaException as error:
            raise RetryLater(f"{topic.name} could not be read ({error.args[0].name()})") from None
        finally:
            consumer.close()

    def first_offsets(self, topic: TopicSpec) -> dict[int, int]:
        """partition → the first retained offset. RetryLater if Kafka is unavailable."""
        consumer = Consumer(self._settings)
        try:
            name = topic.prefixed(self._prefix)
            places = [TopicPartition(name, number) for number in _partitions(consumer, name)]
            return {place.partition: consumer.get_watermark_offsets(place, _ANSWER_S)[0] for place in places}
        except KafkaException as error:
            raise RetryLater(f"{topic.name} could not be read ({error.args[0].name()})") from None
        finally:
            consumer.close()

    def ends_before(self, topic: TopicSpec, partition: int, offset: int) -> bool:
        """Whether the partition ends before this offset, as after its topic was recreated."""
        consumer = Consumer(self._settings)
        try:
            at = TopicPartition(topic.prefixed(self._prefix), partition, offset)
            low, high = consumer.get_watermark_offsets(at, timeout=_ANSWER_S)
            return offset > max(low, high) and not _is_reached(consumer, at)
        except KafkaException as error:
            raise RetryLater(f"{topic.name} could not be read ({error.args[0].name()})") from None
        finally:
            consumer.close()


def _is_reached(consumer: Consumer, at: TopicPartition) -> bool:
    """Whether a fetch from this offset returns records or the end of the partition.

    Only where the end's number is below it (see below): what lies there may be more than this client can open.
    """
    consumer.assign([at])
    began = monotonic()
    while monotonic() - began < _SILENCE_S:
        for message in consumer.consume(1, _POLL_S):
            error = message.error()
            if error is None or error.code() in (KafkaError._PARTITION_EOF, KafkaError._BAD_COMPRESSION):
                return True
            if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
                return False
            raise KafkaException(error)
    raise RetryLater("the broker does not respond to a fetch")


def _dated(consumer: Consumer, places: list[TopicPartition], since_ms: int) -> list[TopicPartition]:
    """The offset of the first record of this time or later; the end if there is none."""
    asked = [TopicPartition(place.topic, place.partition, max(0, since_ms)) for place in places]
    return list(consumer.offsets_for_times(asked, _ANSWER_S))


def _read(consumer: Consumer, places: list[TopicPartition]) -> Iterator[ConsumedRecord]:
    """A partition ends where a fetch finds its end, because ListOffsets of the embedded broker omits its last batch."""
    left = {place.partition for place in places}
    consumer.assign(places)
    heard_at = monotonic()
    while left:
        messages = consumer.consume(_CHUNK, _POLL_S)
        if messages:
            heard_at = monotonic()
        elif monotonic() - heard_at > _SILENCE_S:
            raise RetryLater("the broker stopped responding while a topic was being read")
        for message in messages:
            if _is_end(message):
                left.discard(message.partition())
            elif message.partition() in left:
                yield ConsumedRecord(
                    message.partition(), message.offset(), message.key(), message.value(), message.timestamp()[1]
                )


def _is_end(message: Message) -> bool:
    error = message.error()
    if error is not None and error.code() != KafkaError._PARTITION_EOF:
        raise KafkaException(error)
    return error is not None


def _partitions(consumer: Consumer, topic: str) -> set[int]:
    described = consumer.list_topics(topic, timeout=_ANSWER_S).topics[topic]
    if described.error:
        raise KafkaException(described.error)
    return set(described.partitions)
