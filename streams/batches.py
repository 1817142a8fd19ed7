"""What a role sees of Kafka: batches of raw records of one partition, and the offset it has settled.

A role is a `BatchRole`. The micro-batch transport hands it one batch for each partition fetch and commits only the
offsets it reports as settled, so that a crash repeats records and never loses one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol


class Record(NamedTuple):
    """One Kafka record as bytes; `timestamp_ms` is the broker's append time where the topic says so."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class Batch(NamedTuple):
    """Records of one partition, in offset order, not empty."""

    topic: str
    partition: int
    records: Sequence[Record]


class BatchRole(Protocol):
    """The core of a role. It never raises for bad data; RetryLater and anything unforeseen end the process unacknowledged."""

    async def assigned(self, partitions: Collection[int]) -> None:
        """These partitions of the input topic are ours now, besides those we keep. Load their state."""
        ...

    async def revoked(self, partitions: Collection[int]) -> None:
        """These are no longer ours. Drop their state, unconfirmed work included: the next owner reads it again."""
        ...

    async def take(self, batch: Batch) -> None:
        """Work on one batch; return when everything it caused is confirmed or held as state behind `settled`."""
        ...

    def settled(self) -> Mapping[int, int]:
        """partition → the offset to commit: every record before it needs no second look."""
        ...
