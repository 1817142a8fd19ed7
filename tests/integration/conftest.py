"""Topics on Apache Kafka with a prefix of their own, and a producer for them."""

from collections.abc import Iterator

import pytest

from adapters.kafka.producer import KafkaProducer
from testbed.brokers import Broker
from tests.integration.kafka_topics import create


@pytest.fixture
def kafka(broker: Broker, topic_prefix: str) -> str:
    create(broker.bootstrap_servers, topic_prefix)
    return broker.bootstrap_servers


@pytest.fixture
def producer(kafka: str, topic_prefix: str) -> Iterator[KafkaProducer]:
    made = KafkaProducer(kafka, prefix=topic_prefix)
    yield made
    made.close()
