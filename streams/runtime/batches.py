"""What a role sees of Kafka: batches of raw records of one partition, and the offset it has settled.

A role is a `BatchRole`. The micro-batch transport hands it one batch for each partition fetch and commits only the
offsets it reports as settled, so that a crash repeats records and never loses one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from schemas.reasons import Reason

_LENGTHS_OF_A_HEADER_BYTES = 10
"""Each of two, up to five bytes."""


class Record(NamedTuple):
    """One Kafka record as bytes; `timestamp_ms` is the broker's append time where the topic says so."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


def headers_bytes(headers: Sequence[tuple[str, bytes | None]]) -> int:
    """How much room they take in a record, at most; very many empty ones take some too."""
    return sum(len(name.encode()) + len(content or b"") + _LENGTHS_OF_A_HEADER_BYTES for name, content in headers)


class Unparsed(NamedTuple):
    """What stands at these offsets and was made into no record: bytes that no client can read, or too many of them.

    `raw` is the record as it lies in the log, or of a batch that cannot be opened the whole batch, cut to what is kept.
    """

    first_offset: int
    offset: int
    timestamp_ms: int
    reason: Reason
    key: bytes | None
    raw: bytes
    whole_bytes: int


class Removed(NamedTuple):
    """Offsets that were to be read and that the topic no longer holds. `first_offset` is None where none was committed."""

    first_offset: int | None
    end: int


class Batch(NamedTuple):
    """Records of one partition in offset order, and what stood between them. Everything before `end` is in it or passed.

    There may be no record at all: where a transaction was aborted, or its marker is the last thing in the log.
    """

    topic: str
    partition: int
    records: Sequence[Record]
    next_offset: int | None = None
    unparsed: Sequence[Unparsed] = ()
    removed: Removed | None = None

    @property
    def end(self) -> int:
        """The next offset to read."""
        return self.records[-1].offset + 1 if self.next_offset is None else self.next_offset


class BatchRole(Protocol):
    """The core of a role. It never raises for bad data; RetryLater and anything unforeseen end the process unacknowledged."""

    async def assigned(self, partitions: Collection[int]) -> None:
        """These partitions of the input topic are ours now, besides those we keep. Load their state."""
        ...

    async def revoked(self, partitions: Collection[int]) -> None:
        """These are no longer ours. Drop their state, unconfirmed work included: the next owner reads it again."""
        ...

    def start_at(self) -> Mapping[int, int]:
        """partition → where to read from if more than that was committed: its consequences were lost."""
        ...

    async def take(self, batch: Batch) -> None:
        """Work on one batch; return when everything it caused is confirmed or held as state behind `settled`."""
        ...

    def settled(self) -> Mapping[int, int]:
        """partition → the offset to commit: every record before it needs no second look."""
        ...
