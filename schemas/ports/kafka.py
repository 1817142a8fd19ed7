"""What the core asks of Kafka: producing, reading a topic from its start, and committed positions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from schemas.topics import TopicSpec


class Outgoing(NamedTuple):
    """One record to produce."""

    topic: TopicSpec
    key: bytes
    value: bytes | None
    partition: int | None = None
    headers: tuple[tuple[str, bytes], ...] = ()


class Producer(Protocol):
    """Idempotent Kafka producer: `send` returns when every record is confirmed by all in-sync replicas."""

    async def send(self, records: Sequence[Outgoing]) -> None:
        """Produce all; RetryLater when the broker cannot confirm in time, RecordRefused when it never will.

        Others of them may be on the topic nevertheless, and are then repeated by who sends all again.
        """
        ...


class ConsumedRecord(NamedTuple):
    """One record in a topic, and when it was appended (or produced, if the topic is not `LogAppendTime`)."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    appended_ms: int = 0


class PartitionOffsets(NamedTuple):
    """The offsets of a partition: the one that the group has committed, and the first retained one."""

    committed: int | None
    first: int


class TopicReader(Protocol):
    """Reads whole topics again, as an auditor does: no consumer group, nothing committed."""

    def read(self, topic: TopicSpec) -> Iterable[ConsumedRecord]:
        """Every record from the first to what was the end when asked, in order of each partition; RetryLater if away."""
        ...

    def first_offsets(self, topic: TopicSpec) -> Mapping[int, int]:
        """partition → the first offset that retention has left: where the next record will be, if it has left none."""
        ...


class Position(NamedTuple):
    """A place on a topic: what the records before it cause is durable."""

    topic: str
    partition: int
    next_offset: int


class GroupPosition(NamedTuple):
    """How far a group has committed a partition (None: never), and its end."""

    committed: int | None
    end: int
