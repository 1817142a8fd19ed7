"""A role's interface to Kafka: batches of raw records of one partition, and the offset that it has settled.

A role is a `BatchRole`. The micro-batch transport passes it one batch per partition fetch and commits only offsets that the
role reports as settled, so that a crash repeats records and never loses one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from schemas.reasons import Reason

_LENGTHS_OF_A_HEADER_BYTES = 10
"""Each of two, up to five bytes."""


class Record(NamedTuple):
    """One Kafka record as bytes; `timestamp_ms` is the broker's append time if the topic is `LogAppendTime`."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


def headers_bytes(headers: Sequence[tuple[str, bytes | None]]) -> int:
    """How many bytes they take in a record, at most; empty ones count too."""
    return sum(len(name.encode()) + len(content or b"") + _LENGTHS_OF_A_HEADER_BYTES for name, content in headers)


class UnreadableRecords(NamedTuple):
    """Offsets whose bytes could not be parsed as records: no client can read them, or they exceed a limit.

    `raw` is the record as it is in the log, or the whole batch if that cannot be opened, truncated to what is kept.
    """

    first_offset: int
    offset: int
    timestamp_ms: int
    reason: Reason
    key: bytes | None
    raw: bytes
    whole_bytes: int


class Removed(NamedTuple):
    """Offsets that retention removed before they were read. `first_offset` is None if none was committed."""

    first_offset: int | None
    end: int


class Batch(NamedTuple):
    """Records of one partition in offset order, and what was found between them. Complete up to `end`.

    There may be no record at all: if a transaction was aborted, or its marker is the last entry of the log.
    """

    topic: str
    partition: int
    records: Sequence[Record]
    next_offset: int | None = None
    unreadable: Sequence[UnreadableRecords] = ()
    removed: Removed | None = None

    @property
    def end(self) -> int:
        """The next offset to read."""
        return self.records[-1].offset + 1 if self.next_offset is None else self.next_offset


class BatchRole(Protocol):
    """The core of a role. It never raises for bad data; any error ends the process without acknowledging."""

    async def assigned(self, partitions: Collection[int]) -> None:
        """These partitions of the input topic were assigned, in addition to those kept. Load their state."""
        ...

    async def revoked(self, partitions: Collection[int]) -> None:
        """These were revoked. Drop their state, unconfirmed work included: the next owner reads it again."""
        ...

    def start_at(self) -> Mapping[int, int]:
        """partition → where to start reading if a later offset was committed: what the records caused was lost."""
        ...

    async def process(self, batch: Batch) -> None:
        """Process one batch; return when everything it caused is confirmed, or is state that `settled` does not pass."""
        ...

    def settled(self) -> Mapping[int, int]:
        """partition → the offset to commit: no record before it needs to be read again."""
        ...
