"""Quarantine records and dead letters of bytes that the transport could not parse as records."""

from __future__ import annotations

import base64

import orjson

from schemas.ports.kafka import Outgoing
from schemas.topics import QUARANTINE, TopicSpec
from streams.runtime.batches import Record, UnreadableRecords
from streams.runtime.dead_letters import dead_letter

TRUNCATED_BYTES = 64 * 1024


def quarantine_record(found: UnreadableRecords, topic: str, partition: int) -> Outgoing:
    """The record on `vitals.quarantine`, with the first bytes. A batch that cannot be decompressed becomes one record."""
    source = {"topic": topic, "partition": partition, "offset": found.first_offset, "index": 0}
    if found.offset > found.first_offset:
        source["last_offset"] = found.offset
    value = {
        "kind": "reading",
        "reason": found.reason,
        "tenant_id": None,
        "device_id": None,
        "source": source,
        "arrived": found.timestamp_ms,
        "reading": None,
        "raw": base64.b64encode(found.raw[:TRUNCATED_BYTES]).decode(),
        "whole_bytes": found.whole_bytes if found.whole_bytes > TRUNCATED_BYTES else None,
    }
    return Outgoing(QUARANTINE, b"", orjson.dumps(value), partition)


def dead_letter_of(found: UnreadableRecords, destination: TopicSpec, topic: str, partition: int) -> Outgoing:
    """The dead letter: the bytes as they are in the log, at most `record_batches.KEPT_BYTES`."""
    record = Record(found.first_offset, found.timestamp_ms, found.key, found.raw, ())
    return dead_letter(destination, topic, partition, record, found.reason)
