"""Producer and topic reader against Apache Kafka."""

import asyncio
from random import Random

import pytest
from aiokafka.partitioner import DefaultPartitioner
from confluent_kafka import Consumer, TopicPartition

from adapters.kafka.producer import KafkaProducer
from adapters.kafka.topic_reader import KafkaTopicReader
from schemas.errors import Misconfigured, RetryLater
from schemas.ports.kafka import Outgoing
from schemas.topics import WINDOWS, TopicSpec
from tests.conditions import wait_until
from tests.integration.kafka_topics import PARTITIONS


def windows(count: int) -> list[Outgoing]:
    return [Outgoing(WINDOWS, b"north|p-%d" % (n % 50), b"%d" % n) for n in range(count)]


async def test_every_record_is_there_when_send_returns_and_each_key_keeps_its_order(
    kafka: str, topic_prefix: str, producer: KafkaProducer
):
    await producer.send(windows(20_000))
    stored = list(KafkaTopicReader(kafka, prefix=topic_prefix).read(WINDOWS))
    assert len(stored) == 20_000
    by_key: dict[bytes, list[int]] = {}
    for record in stored:
        by_key.setdefault(record.key, []).append(int(record.value))
    assert all(numbers == sorted(numbers) for numbers in by_key.values())


async def test_a_key_goes_to_the_partition_where_aiokafka_would_put_it(
    kafka: str, topic_prefix: str, producer: KafkaProducer
):
    await producer.send(windows(200))
    everywhere = list(range(PARTITIONS))
    records = list(KafkaTopicReader(kafka, prefix=topic_prefix).read(WINDOWS))
    assert len(records) == 200
    for record in records:
        assert record.partition == DefaultPartitioner()(record.key, everywhere, everywhere)


async def test_partition_headers_and_tombstones_arrive_as_given(kafka: str, topic_prefix: str, producer: KafkaProducer):
    await producer.send([Outgoing(WINDOWS, b"k", None, 2, (("why", b"\x00gone"),))])
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": "nobody"})
    consumer.assign([TopicPartition(WINDOWS.prefixed(topic_prefix), 2, 0)])
    (message,) = wait_until(lambda: consumer.consume(1, 1.0), what="the record")
    assert (message.key(), message.value(), message.headers()) == (b"k", None, [("why", b"\x00gone")])
    consumer.close()


async def test_concurrent_sends_each_confirm_their_own_records(kafka: str, topic_prefix: str, producer: KafkaProducer):
    await asyncio.gather(*(producer.send(windows(37)) for _ in range(20)))
    assert sum(1 for _ in KafkaTopicReader(kafka, prefix=topic_prefix).read(WINDOWS)) == 20 * 37


async def test_a_record_that_kafka_will_never_take_is_misconfigured_and_not_quoted(producer: KafkaProducer):
    with pytest.raises(Misconfigured) as refused:
        await producer.send([Outgoing(WINDOWS, b"k", b"CANARY" + Random(1).randbytes(3_000_000))])
    assert "CANARY" not in str(refused.value)
    await producer.send(windows(1))


async def test_a_broker_that_is_away_is_retry_later():
    producer = KafkaProducer("127.0.0.1:1", delivery_timeout_s=1.0)
    with pytest.raises(RetryLater):
        await producer.send(windows(3))
    producer.close(0.1)


def test_reading_an_empty_topic_gives_nothing_and_an_unknown_one_is_retry_later(kafka: str, topic_prefix: str):
    reader = KafkaTopicReader(kafka, prefix=topic_prefix)
    assert list(reader.read(WINDOWS)) == []
    with pytest.raises(RetryLater):
        list(reader.read(TopicSpec("never.created", "k", "-")))
