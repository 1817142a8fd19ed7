"""Reading `vitals.progress` of one partition back: what earlier owners of it have closed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from pydantic import ValidationError

from schemas.errors import RetryLater, Unsafe
from schemas.progress import DeviceProgress, PartitionProgress
from schemas.topics import PROGRESS

_POLL_S = 0.5
_PATIENCE_S = 30.0
_PARTITION_KEY = b"#partition"
Progress = tuple[list[DeviceProgress], PartitionProgress | None]


class ProgressReader:
    """Reads one partition of the compacted topic to its end."""

    def __init__(self, bootstrap_servers: str, prefix: str = "") -> None:
        self._bootstrap_servers, self._topic = bootstrap_servers, PROGRESS.prefixed(prefix)

    async def load(self, partition: int) -> Progress:
        """The furthest progress of each device and of the partition. RetryLater when the broker is away."""
        return await asyncio.to_thread(self._load, partition)

    def _load(self, partition: int) -> Progress:
        devices: dict[bytes, DeviceProgress] = {}
        whole: PartitionProgress | None = None
        for key, value in self._records(partition):
            try:
                if key == _PARTITION_KEY:
                    found = PartitionProgress.model_validate_json(value)
                    whole = found if whole is None or found.position >= whole.position else whole
                else:
                    device = DeviceProgress.model_validate_json(value)
                    known = devices.get(key)
                    devices[key] = device if known is None or device.offset >= known.offset else known
            except ValidationError:
                raise Unsafe(
                    f"a record of {self._topic} partition {partition} is not progress: somebody else writes to the topic. "
                    "Remove that writer; then delete and recreate the topic."
                ) from None
        return list(devices.values()), whole

    def _records(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values to the end as it stood at the start. A zombie's record may come after a newer one: take both."""
        consumer = Consumer(
            {
                "bootstrap.servers": self._bootstrap_servers,
                "group.id": "vitalwire-progress-reader",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "enable.partition.eof": False,
                "log_level": 2,
            }
        )
        try:
            at = TopicPartition(self._topic, partition)
            low, high = consumer.get_watermark_offsets(at, timeout=_PATIENCE_S)
            consumer.assign([TopicPartition(self._topic, partition, low)])
            while consumer_position(consumer, at, low) < high:
                for message in consumer.consume(10_000, _POLL_S):
                    yield from _entry(message)
        except KafkaException as away:
            raise RetryLater(f"Kafka does not give {self._topic} ({away.args[0].name()})") from None
        finally:
            consumer.close()


def consumer_position(consumer: Consumer, at: TopicPartition, start: int) -> int:
    """The next offset the consumer reads; it has none before its first record, and skips what compaction removed."""
    position = consumer.position([at])[0].offset
    return position if position >= 0 else start


def _entry(message: Message) -> Iterator[tuple[bytes, bytes]]:
    error = message.error()
    if error is not None:
        raise KafkaException(error)
    key, value = message.key(), message.value()
    if key is not None and value is not None:
        yield key, value
