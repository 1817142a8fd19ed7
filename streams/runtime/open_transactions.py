"""Telling of transactions that stay open: what stands behind one is not read until it ends, and one may hang for ever."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

from schemas.ports.observer import Observer

EVERY_S = 1.0


async def publish_open_transactions(app: Any, topic: str, observer: Observer) -> None:
    """Show for each partition how many records wait for an open transaction, and for how long, until cancelled."""
    shown: set[int] = set()
    while True:
        await asyncio.sleep(EVERY_S)
        waiting = app.consumer.waiting()
        for partition in shown | waiting.keys():
            told = waiting.get(partition)
            records, for_s = (told.records, monotonic() - told.since_s) if told else (0, 0.0)
            labels = {"topic": topic, "partition": str(partition)}
            observer.gauge("partition_uncommitted_records", records, **labels)
            observer.gauge("partition_uncommitted_seconds", for_s if records else 0.0, **labels)
        shown = set(waiting)
