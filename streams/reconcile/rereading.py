"""Reads the readings topic from its first record to its end within limits, as the telemetry worker does.

Its records come from others. A batch of a few kilobytes may decompress to gigabytes; a client without a limit would run out of
memory, or never get past it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from time import monotonic
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.errors import RetryLater
from schemas.ports.kafka import ConsumedRecord
from schemas.topics import TopicSpec
from streams.runtime.batches import UnreadableRecords
from streams.runtime.fetching import Gap, Skipped

FETCH_BYTES = 4 << 20
FETCH_WAIT_MS = 20
AT_ONCE = 20_000
POLL_MS = 100
SILENCE_S = 30.0


class BoundedReading:
    """One topic; joins no group, commits nothing. How much a batch may open to: `streams.runtime.fetching.set_limits`."""

    def __init__(self, bootstrap_servers: str, prefix: str = "") -> None:
        self._bootstrap_servers, self._prefix = bootstrap_servers, prefix

    def read(self, topic: TopicSpec, first_offsets: Mapping[int, int]) -> Iterator[ConsumedRecord]:
        """Every record of these partitions from the first that is retained to their ends.

        Unreadable records come as one record without a value. RetryLater if Kafka is unavailable. Do not call it from an event
        loop.
        """
        left = {TopicPartition(topic.prefixed(self._prefix), number): at for number, at in first_offsets.items()}
        with asyncio.Runner() as runner:
            consumer: Any = runner.run(self._started(list(left)))
            try:
                heard_s = monotonic()
                while left:
                    fetched = runner.run(consumer.getmany(*left, timeout_ms=POLL_MS, max_records=AT_ONCE))
                    for tp, items in fetched.items():
                        yield from _stored(tp.partition, items)
                        left[tp] = items[-1].offset + 1
                        heard_s = monotonic()
                    left = {tp: at for tp, at in left.items() if tp in fetched or not _is_end(consumer, tp, at)}
                    if monotonic() - heard_s > SILENCE_S:
                        raise RetryLater(f"the broker stopped answering in the middle of {topic.name}")
            except KafkaError as error:
                raise RetryLater(f"{topic.name} could not be read ({type(error).__name__})") from None
            finally:
                runner.run(consumer.stop())

    async def _started(self, partitions: Sequence[TopicPartition]) -> Any:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap_servers,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            fetch_max_wait_ms=FETCH_WAIT_MS,
            max_partition_fetch_bytes=FETCH_BYTES,
        )
        try:
            await consumer.start()
        except KafkaError as error:
            await consumer.stop()
            raise RetryLater(f"Kafka does not answer ({type(error).__name__})") from None
        consumer.assign(partitions)
        return consumer


def _stored(partition: int, items: Sequence[Any]) -> Iterator[ConsumedRecord]:
    for item in items:
        if isinstance(item, UnreadableRecords):
            yield ConsumedRecord(partition, item.first_offset, item.key, None, item.timestamp_ms)
        elif not isinstance(item, Skipped | Gap):
            yield ConsumedRecord(partition, item.offset, item.key, item.value, item.timestamp)


def _is_end(consumer: Any, tp: TopicPartition, read_to: int) -> bool:
    """Whether a fetch from this position found nothing more, or only records of an open transaction."""
    quiet, waiting = consumer._fetcher.quiet.get(tp), consumer._fetcher.waiting.get(tp)
    if quiet is not None and quiet.position >= read_to:
        return True
    return waiting is not None and waiting.records > 0 and waiting.stable_offset <= read_to
