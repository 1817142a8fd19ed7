"""Reads the committed offsets of a consumer group without joining it."""

from __future__ import annotations

from confluent_kafka import Consumer, KafkaException, TopicPartition

from schemas.errors import RetryLater
from schemas.ports.kafka import GroupPosition

_ANSWER_S = 10.0


def group_offsets(bootstrap: str, group: str, topic: str) -> dict[int, GroupPosition]:
    """partition → committed offset and end offset. RetryLater if the broker is unavailable."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False, "log_level": 3}
    )
    try:
        return {number: _reached(consumer, TopicPartition(topic, number)) for number in _partitions(consumer, topic)}
    except KafkaException as error:
        raise RetryLater(f"the committed offsets of {topic} could not be read ({error.args[0].name()})") from None
    finally:
        consumer.close()


def _partitions(consumer: Consumer, topic: str) -> list[int]:
    metadata = consumer.list_topics(topic, _ANSWER_S).topics[topic]
    if metadata.error is not None:
        raise KafkaException(metadata.error)
    return sorted(metadata.partitions)


def _reached(consumer: Consumer, at: TopicPartition) -> GroupPosition:
    """The end is read last, so that it is never before the committed offset."""
    committed = consumer.committed([at], _ANSWER_S)[0]
    if committed.error:
        raise KafkaException(committed.error)
    _, end = consumer.get_watermark_offsets(at, _ANSWER_S)
    return GroupPosition(committed.offset if committed.offset >= 0 else None, end)
