"""Metadata of the reference topics from the broker: ids and partitions, end offsets, and the type of timestamps."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, OffsetSpec, ResourceType

_REQUEST_TIMEOUT_S = 2.0
_RESULT_WITHIN_S = 10.0  # the client itself gives up earlier
_TIMESTAMP_TYPE = "message.timestamp.type"


class Partition(NamedTuple):
    """One partition of a topic."""

    topic: str
    number: int


class Topic(NamedTuple):
    """A topic at the time of the request. A recreated topic has another id."""

    topic_id: str
    partitions: tuple[int, ...]


Layout = Mapping[str, Topic]


class ReferenceBroker:
    """Requests to the broker. They raise KafkaException or TimeoutError if it does not respond, or denies the request."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._admin = AdminClient({**settings, "log_level": 0})

    def layout(self, topics: Collection[str]) -> Layout:
        """The layout of the topics that exist."""
        asked = self._admin.describe_topics(TopicCollection(list(topics)), request_timeout=_REQUEST_TIMEOUT_S)
        found = {name: _unless_missing(future) for name, future in asked.items()}
        return {
            name: Topic(str(topic.topic_id), tuple(sorted(partition.id for partition in topic.partitions)))
            for name, topic in found.items()
            if topic is not None
        }

    def ends(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """The offset after the last record of each partition, including records of open transactions."""
        asked = self._admin.list_offsets(
            {TopicPartition(*at): OffsetSpec.latest() for at in partitions},
            isolation_level=IsolationLevel.READ_UNCOMMITTED,
            request_timeout=_REQUEST_TIMEOUT_S,
        )
        return {
            Partition(at.topic, at.partition): future.result(_RESULT_WITHIN_S).offset for at, future in asked.items()
        }

    def undated(self, topics: Collection[str]) -> set[str]:
        """The topics that do not use `LogAppendTime`."""
        asked = self._admin.describe_configs(
            [ConfigResource(ResourceType.TOPIC, topic) for topic in topics], request_timeout=_REQUEST_TIMEOUT_S
        )
        settings = {resource.name: future.result(_RESULT_WITHIN_S) for resource, future in asked.items()}
        return {
            topic
            for topic, found in settings.items()
            if _TIMESTAMP_TYPE not in found or found[_TIMESTAMP_TYPE].value != "LogAppendTime"
        }


def _unless_missing(described: Future[Any]) -> Any:
    try:
        return described.result(_RESULT_WITHIN_S)
    except KafkaException as refused:
        if refused.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return None
        raise
