"""What the broker says of the reference topics: which they are, where they end, and whether it dates their records."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, OffsetSpec, ResourceType

_ANSWER_S = 2.0
_TOLD_WITHIN_S = 10.0  # the client itself gives up before
_DATED_BY = "message.timestamp.type"


class Partition(NamedTuple):
    """One partition of a topic."""

    topic: str
    number: int


class Topic(NamedTuple):
    """A topic as it is now: one that is made anew has another id."""

    topic_id: str
    partitions: tuple[int, ...]


Layout = Mapping[str, Topic]


class ReferenceBroker:
    """Questions to the broker. KafkaException (or TimeoutError) when it does not answer, or refuses."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._admin = AdminClient({**settings, "log_level": 0})

    def layout(self, topics: Collection[str]) -> Layout:
        """Those of the topics that there are."""
        asked = self._admin.describe_topics(TopicCollection(list(topics)), request_timeout=_ANSWER_S)
        found = {name: _unless_missing(future) for name, future in asked.items()}
        return {
            name: Topic(str(topic.topic_id), tuple(sorted(partition.id for partition in topic.partitions)))
            for name, topic in found.items()
            if topic is not None
        }

    def ends(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """The offset after the last record of each, of transactions that are still open too."""
        asked = self._admin.list_offsets(
            {TopicPartition(*at): OffsetSpec.latest() for at in partitions},
            isolation_level=IsolationLevel.READ_UNCOMMITTED,
            request_timeout=_ANSWER_S,
        )
        return {Partition(at.topic, at.partition): future.result(_TOLD_WITHIN_S).offset for at, future in asked.items()}

    def undated(self, topics: Collection[str]) -> set[str]:
        """Those of the topics whose records the broker does not date."""
        asked = self._admin.describe_configs(
            [ConfigResource(ResourceType.TOPIC, topic) for topic in topics], request_timeout=_ANSWER_S
        )
        settings = {resource.name: future.result(_TOLD_WITHIN_S) for resource, future in asked.items()}
        return {
            topic
            for topic, found in settings.items()
            if _DATED_BY not in found or found[_DATED_BY].value != "LogAppendTime"
        }


def _unless_missing(described: Future[Any]) -> Any:
    try:
        return described.result(_TOLD_WITHIN_S)
    except KafkaException as refused:
        if refused.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            return None
        raise
