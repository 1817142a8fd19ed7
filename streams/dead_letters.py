"""A record that could not be taken, kept as it was: its bytes, key and headers, and why, in the headers of KIP-1034.

Kafka Streams also writes the exception's message and stack trace; they may quote the record, so here they are left out.
"""

from __future__ import annotations

from schemas.ports import Outgoing
from schemas.topics import TopicSpec
from streams.batches import Record

_PREFIX = "__streams.errors."


def dead_letter(destination: TopicSpec, topic: str, partition: int, record: Record, code: str) -> Outgoing:
    """The record for a `dlq.…` topic. `code` names the fault and holds nothing of the record."""
    told = {"exception": code, "topic": topic, "partition": str(partition), "offset": str(record.offset)}
    kept = tuple((name, value) for name, value in record.headers if not name.startswith(_PREFIX))
    why = tuple((_PREFIX + name, value.encode()) for name, value in told.items())
    return Outgoing(destination, record.key or b"", record.value, headers=kept + why)
