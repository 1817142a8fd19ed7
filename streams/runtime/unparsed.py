"""What the transport could make no record of, kept as it lies in the log: in quarantine, and as a dead letter."""

from __future__ import annotations

import base64

import orjson

from schemas.ports.kafka import Outgoing
from schemas.topics import QUARANTINE, TopicSpec
from streams.runtime.batches import Record, Unparsed
from streams.runtime.dead_letters import dead_letter

BEGINNING_BYTES = 64 * 1024


def quarantined(found: Unparsed, topic: str, partition: int) -> Outgoing:
    """Its record on `vitals.quarantine`, with the beginning of the bytes. A batch that cannot be opened is one record."""
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
        "raw": base64.b64encode(found.raw[:BEGINNING_BYTES]).decode(),
        "whole_bytes": found.whole_bytes if found.whole_bytes > BEGINNING_BYTES else None,
    }
    return Outgoing(QUARANTINE, b"", orjson.dumps(value), partition)


def letter(found: Unparsed, destination: TopicSpec, topic: str, partition: int) -> Outgoing:
    """Its dead letter: the bytes as they lie in the log, of very many the first `record_batches.KEPT_BYTES`."""
    record = Record(found.first_offset, found.timestamp_ms, found.key, found.raw, ())
    return dead_letter(destination, topic, partition, record, found.reason)
