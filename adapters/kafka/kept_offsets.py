"""Reads the committed offsets of a consumer group and the first retained offsets of a topic, without joining the group."""

from __future__ import annotations

import asyncio

from confluent_kafka import Consumer, KafkaException, TopicPartition

from schemas.errors import RetryLater
from schemas.ports.kafka import PartitionOffsets

_ANSWER_S = 10.0


class KeptOffsets:
    """One group and one topic."""

    def __init__(self, bootstrap_servers: str, group: str, topic: str) -> None:
        self._settings = {
            "bootstrap.servers": bootstrap_servers,
            "group.id": group,
            "enable.auto.commit": False,
            "log_level": 3,
        }
        self._topic = topic

    async def load(self, partition: int) -> PartitionOffsets:
        """The current offsets. RetryLater if the broker is unavailable."""
        return await asyncio.to_thread(self._load, partition)

    def _load(self, partition: int) -> PartitionOffsets:
        consumer, at = Consumer(self._settings), TopicPartition(self._topic, partition)
        try:
            committed = _committed(consumer, at)
            first, _ = consumer.get_watermark_offsets(at, _ANSWER_S)
        except KafkaException as error:
            raise RetryLater(f"the offsets of {self._topic} could not be read ({error.args[0].name()})") from None
        finally:
            consumer.close()
        return PartitionOffsets(committed, first)


def _committed(consumer: Consumer, at: TopicPartition) -> int | None:
    (answer,) = consumer.committed([at], _ANSWER_S)
    if answer.error:
        raise KafkaException(answer.error)
    return answer.offset if answer.offset >= 0 else None
