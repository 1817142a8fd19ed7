"""Publishes how many records wait for an open transaction: nothing behind it is read until it ends, and one may hang."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

from schemas.ports.observer import Observer

EVERY_S = 1.0


async def publish_open_transactions(app: Any, topic: str, observer: Observer) -> None:
    """Set the gauges of each partition, how many records wait and for how long, until cancelled."""
    published: set[int] = set()
    while True:
        await asyncio.sleep(EVERY_S)
        waiting = app.consumer.waiting()
        for partition in published | waiting.keys():
            found = waiting.get(partition)
            records, for_s = (found.records, monotonic() - found.since_s) if found else (0, 0.0)
            labels = {"topic": topic, "partition": str(partition)}
            observer.gauge("partition_uncommitted_records", records, **labels)
            observer.gauge("partition_uncommitted_seconds", for_s if records else 0.0, **labels)
        published = set(waiting)
