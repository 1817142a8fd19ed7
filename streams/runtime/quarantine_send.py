"""Sending what was set aside so that it always arrives: of a record that Kafka refuses for good, its place and reason.

Sizes are bounded where the records are made. This is for the topic whose own limits are smaller than those that
`vitalwire topics` sets: one record must not end the worker at every start.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import orjson

from schemas.errors import RecordRefused
from schemas.ports.kafka import Outgoing, Producer
from schemas.topics import LATE_READINGS, QUARANTINE
from streams.runtime import dead_letters

_log = logging.getLogger(__name__)
_PLACE_AND_REASON = ("kind", "reason", "source", "arrived", "endpoint")


async def send_set_aside(producer: Producer, records: Sequence[Outgoing]) -> None:
    """All of them confirmed, those that Kafka refuses in short. RetryLater as the producer raises it."""
    try:
        await producer.send(records)
    except RecordRefused:
        if len(records) == 1:
            _log.warning("%s refuses a record for good: only its place and reason are kept", records[0].topic.name)
            await producer.send([in_short(records[0])])
            return
        half = len(records) // 2
        await send_set_aside(producer, records[:half])
        await send_set_aside(producer, records[half:])


def in_short(record: Outgoing) -> Outgoing:
    """Its place and reason; of a window also its id, by which it is counted."""
    if record.topic not in (QUARANTINE, LATE_READINGS):
        return dead_letters.in_short(record)
    whole = orjson.loads(record.value or b"{}")
    named = {"window_id": whole["reading"]["window_id"]} if whole["kind"] == "window" else None
    told = {name: whole[name] for name in _PLACE_AND_REASON if name in whole}
    short = {"tenant_id": None, "device_id": None, "reading": named, "raw": None}
    return record._replace(key=b"", value=orjson.dumps(told | short))
