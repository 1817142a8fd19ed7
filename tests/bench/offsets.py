"""How many records topics hold and groups have left, asked of the broker."""

from __future__ import annotations

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.topics import READINGS, TopicSpec
from tests.bench.servers import PARTITIONS


def ends(bootstrap_servers: str, topic: TopicSpec) -> dict[int, int]:
    """Partition → the offset after its last record."""
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "bench-ends"})
    try:
        partitions = [TopicPartition(topic.name, number) for number in range(PARTITIONS)]
        return {at.partition: consumer.get_watermark_offsets(at, timeout=10)[1] for at in partitions}
    finally:
        consumer.close()


def records(bootstrap_servers: str, topic: TopicSpec) -> int:
    """How many were ever produced to a topic."""
    return sum(ends(bootstrap_servers, topic).values())


def left(bootstrap_servers: str, group: str) -> int:
    """Readings after the group's committed offsets."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    asked = [ConsumerGroupTopicPartitions(group)]
    answer = admin.list_consumer_group_offsets(asked)[group].result()
    committed = {at.partition: max(at.offset, 0) for at in answer.topic_partitions or [] if at.topic == READINGS.name}
    return sum(end - committed.get(partition, 0) for partition, end in ends(bootstrap_servers, READINGS).items())
