"""Reads back what earlier owners of a partition have done: what they closed, and what they quarantined."""

from __future__ import annotations

import asyncio
from array import array

from pydantic import ValidationError

from adapters.kafka.topic_reader import KafkaTopicReader
from schemas import quarantine_header
from schemas.errors import Unsafe
from schemas.progress import DeviceProgress, PartitionProgress, furthest, furthest_device
from schemas.topics import LATE_READINGS, PROGRESS, QUARANTINE, READINGS

_PARTITION_KEY = b"#partition"
STEP_BACK_MS = 3_600_000
"""Tolerance for brokers' clocks that differ or step back: a quarantine record may be dated before its reading."""
Progress = tuple[list[DeviceProgress], PartitionProgress | None]


class ProgressReader:
    """Reads one partition of `vitals.progress`, or of the quarantine topics, to its end."""

    def __init__(self, bootstrap_servers: str, prefix: str = "") -> None:
        self._reader = KafkaTopicReader(bootstrap_servers, prefix=prefix)

    async def load(self, partition: int) -> Progress:
        """The furthest progress of each device and of the partition. RetryLater if the broker is unavailable."""
        return await asyncio.to_thread(self._load, partition)

    async def load_quarantined(self, partition: int, first_offset: int, since_ms: int) -> array[int]:
        """Offset and frame index in turn of the quarantined readings from `first_offset` on, appended at `since_ms`."""
        return await asyncio.to_thread(self._load_quarantined, partition, first_offset, since_ms)

    def _load_quarantined(self, partition: int, first_offset: int, since_ms: int) -> array[int]:
        coordinates = array("q")
        for topic in (QUARANTINE, LATE_READINGS):
            for record in self._reader.read(topic, partition, since_ms - STEP_BACK_MS):
                header = quarantine_header.parse(record.value)
                if header is None or header.kind != "reading" or header.source.partition != partition:
                    continue
                if header.source.offset >= first_offset:
                    coordinates.extend((header.source.offset, header.source.index))
        return coordinates

    def _load(self, partition: int) -> Progress:
        """A worker that lost the partition may have written after its successor: the furthest counts, not the last."""
        devices: dict[bytes, DeviceProgress] = {}
        whole: PartitionProgress | None = None
        for record in self._reader.read(PROGRESS, partition):
            if record.key is None or record.value is None:
                continue
            try:
                if record.key == _PARTITION_KEY:
                    whole = furthest(whole, PartitionProgress.model_validate_json(record.value))
                else:
                    device = DeviceProgress.model_validate_json(record.value)
                    devices[record.key] = furthest_device(devices.get(record.key), device)
            except ValidationError:
                raise Unsafe(
                    f"partition {partition} of {PROGRESS.name} holds what is not progress: something else writes there. "
                    "Stop that writer, then write a tombstone with the same key to that partition."
                ) from None
        if whole is not None and self._reader.ends_before(READINGS, partition, whole.position):
            raise Unsafe(
                f"partition {partition} of {READINGS.name} ends before what {PROGRESS.name} says was read: the topic was "
                f"deleted and recreated. Delete and recreate {PROGRESS.name} too, then start again."
            )
        return list(devices.values()), whole
