"""Sends quarantine records and dead letters so that each arrives: if Kafka rejects one, only its coordinates and reason.

Records are truncated when they are created. This module covers topics with smaller limits than `vitalwire topics` sets, where a
single record would otherwise end the worker at every start.
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
_KEPT_FIELDS = ("kind", "reason", "source", "arrived", "endpoint")


async def send_quarantined(producer: Producer, records: Sequence[Outgoing]) -> None:
    """Returns when all are confirmed, rejected ones without their payload. RetryLater as the producer raises it."""
    try:
        await producer.send(records)
    except RecordRefused:
        if len(records) == 1:
            _log.warning(
                "%s rejects a record permanently: only its coordinates and reason are kept", records[0].topic.name
            )
            await producer.send([without_payload(records[0])])
            return
        half = len(records) // 2
        await send_quarantined(producer, records[:half])
        await send_quarantined(producer, records[half:])


def without_payload(record: Outgoing) -> Outgoing:
    """Its coordinates and reason; of a window also its id, by which it is counted."""
    if record.topic not in (QUARANTINE, LATE_READINGS):
        return dead_letters.without_payload(record)
    whole = orjson.loads(record.value or b"{}")
    named = {"window_id": whole["reading"]["window_id"]} if whole["kind"] == "window" else None
    kept = {name: whole[name] for name in _KEPT_FIELDS if name in whole}
    removed = {"tenant_id": None, "device_id": None, "reading": named, "raw": None}
    return record._replace(key=b"", value=orjson.dumps(kept | removed))
