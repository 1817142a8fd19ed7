"""Publishes on `ops.heartbeats` that a worker is alive. A heartbeat that cannot be sent never ends a worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from schemas.errors import RetryLater
from schemas.heartbeats import Heartbeat
from schemas.ports.clock import Clock
from schemas.ports.kafka import Outgoing, Producer
from schemas.ports.observer import Observer
from schemas.topics import HEARTBEATS

EVERY_S = 10.0


class HeartbeatEmitter:
    """One worker's heartbeats. `detail` returns counts and codes only, never patient data."""

    def __init__(
        self,
        identity: Heartbeat,
        producer: Producer,
        clock: Clock,
        observer: Observer,
        ready: Callable[[], bool],
        detail: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        self._identity = identity
        self._producer = producer
        self._clock = clock
        self._observer = observer
        self._ready = ready
        self._detail = detail

    async def run(self, every_s: float = EVERY_S) -> None:
        """Send heartbeats until cancelled."""
        while True:
            await self.beat()
            await asyncio.sleep(every_s)

    async def beat(self) -> None:
        """Send one heartbeat."""
        ready = self._ready()
        self._observer.gauge("worker_ready", float(ready), role=self._identity.role)
        now = self._identity.model_copy(update={"at": self._clock(), "ready": ready, "detail": self._detail()})
        key = f"{now.role}|{now.instance}".encode()
        try:
            await self._producer.send([Outgoing(HEARTBEATS, key, now.model_dump_json().encode())])
        except RetryLater:
            self._observer.count("retries_total", dependency="kafka")
