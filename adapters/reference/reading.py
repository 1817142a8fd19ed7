"""Reads the reference topics from their first record: a consumer, its positions, and the tables it fills."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from confluent_kafka import OFFSET_BEGINNING as BEGINNING
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from adapters.reference.broker import Layout, Partition
from adapters.reference.tables import Table, Tables

_log = logging.getLogger(__name__)
_CHUNK = 5_000
_READ_AGAIN = frozenset(
    {
        *(KafkaError._AUTO_OFFSET_RESET, KafkaError._LOG_TRUNCATION, KafkaError.OFFSET_OUT_OF_RANGE),
        *(KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION, KafkaError.UNKNOWN_TOPIC_OR_PART),
    }
)
_SETTINGS = {
    "group.id": "vitalwire-reference-never-joined",
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    "isolation.level": "read_committed",
    # a position that is out of range means that the records already read are no longer those in the log
    "auto.offset.reset": "error",
    "fetch.wait.max.ms": 100,
    "log_level": 3,
}


class Reading:
    """Reads every partition of a layout. Its tables are valid once it has reached the end of each partition."""

    def __init__(self, layout: Layout, tables: Tables, settings: Mapping[str, Any]) -> None:
        self.layout = layout
        self.tables = tables
        self.place_lost = False
        self._next = {Partition(name, number): 0 for name, topic in layout.items() for number in topic.partitions}
        self._ended: set[Partition] = set()
        self._consumer = Consumer({**_SETTINGS, **settings}, logger=_log)
        self._consumer.assign([TopicPartition(*at, BEGINNING) for at in self._next])

    def close(self) -> None:
        """Close the connections."""
        self._consumer.close()

    @property
    def partitions(self) -> list[Partition]:
        """All partitions that are read."""
        return list(self._next)

    @property
    def was_at_each_end(self) -> bool:
        """Whether the end of each partition was reached at some time."""
        return len(self._ended) == len(self._next)

    def behind(self, ends: Mapping[Partition, int]) -> Partition | None:
        """A partition that has not been read up to these end offsets."""
        return next((at for at, end in ends.items() if self._next[at] < end), None)

    def read(self, wait_s: float) -> list[Table[Any]]:
        """Read the next records; returns the tables that changed."""
        return [table for message in self._consumer.consume(_CHUNK, wait_s) if (table := self._applied(message))]

    def _applied(self, message: Message) -> Table[Any] | None:
        at = Partition(message.topic(), message.partition())
        error = message.error()
        if error is None:
            self._next[at] = message.offset() + 1
            return self.tables.apply(message)
        if error.code() == KafkaError._PARTITION_EOF:
            # aborted records and transaction markers may follow the last record
            self._next[at] = max(self._next[at], message.offset())
            self._ended.add(at)
        else:
            _log.warning("%s partition %s: %s", message.topic(), message.partition(), error.name())
            self.place_lost |= error.code() in _READ_AGAIN
        return None
