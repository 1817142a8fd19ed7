"""Runs a BatchRole as a Faust worker: one agent over one topic, commits of settled offsets, and a clean shutdown.

A role never raises for data. If it does raise, the process exits at once without acknowledging: the next owner reads the
records again, and nothing is lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faust

from schemas.ports.observer import Observer
from streams.runtime.batches import BatchRole
from streams.runtime.fail_fast import exit_on_error, exit_process
from streams.runtime.fetching import set_limits
from streams.runtime.open_transactions import publish_open_transactions
from streams.runtime.record_batches import Limits

BUFFERED_BATCHES = 4
MAX_BATCH_RECORDS = 20_000
MAX_FETCH_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """Where a worker reads, and in which consumer group.

    `scratch` is a directory for Faust, which requires one even though it keeps nothing there.
    """

    bootstrap_servers: str
    group: str
    topic: str
    scratch: Path
    limits: Limits
    commit_every_s: float = 1.0
    session_timeout_s: float = 10.0


def make_app(settings: WorkerSettings, role: BatchRole) -> Any:
    """The Faust app: no tables, no web server, no topic declaration, no leader topic."""
    app = faust.App(
        settings.group,
        broker=f"microbatch://{settings.bootstrap_servers}",
        store="memory://",
        datadir=str(settings.scratch),
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        stream_buffer_maxsize=BUFFERED_BATCHES,
        stream_wait_empty=True,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=MAX_FETCH_BYTES,
        broker_max_poll_records=MAX_BATCH_RECORDS,
        broker_commit_interval=settings.commit_every_s,
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.session_timeout_s / 4,
    )
    app.batch_role, app.batch_topic = role, settings.topic

    async def batches(stream: Any) -> None:
        async for event in stream.events():
            if event.message.generation_id != app.consumer_generation_id:
                continue
            await exit_on_error(role.process(event.value))

    channel = app.topic(settings.topic, key_serializer="raw", value_serializer="raw")
    app.agent(channel, name=f"{settings.group}.batches")(batches)
    return app


async def run(
    settings: WorkerSettings,
    role: BatchRole,
    stop: asyncio.Event,
    observer: Observer,
    *,
    every_s: float | None = None,
    tick: Callable[[], Awaitable[object]] | None = None,
    started: Callable[[Any], None] | None = None,
) -> None:
    """Serve until `stop` is set. `tick` runs every `every_s`, concurrently with the batches; `started` gets the Faust app."""
    settings.scratch.mkdir(parents=True, exist_ok=True)
    set_limits(settings.limits)
    app = make_app(settings, role)
    if started is not None:
        started(app)
    await app.start()
    ticking = asyncio.create_task(exit_on_error(_tick(every_s, tick))) if every_s and tick else None
    publishing = asyncio.create_task(exit_on_error(publish_open_transactions(app, settings.topic, observer)))
    crashed = asyncio.create_task(app.wait_until_stopped())
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({crashed, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not stop.is_set():
        exit_process(f"the Kafka consumer stopped unexpectedly ({type(app.crash_reason).__name__})")
    await app.stop()
    for task in (ticking, publishing, crashed, stopped):
        if task is not None:
            task.cancel()


async def _tick(every_s: float, tick: Callable[[], Awaitable[object]]) -> None:
    while True:
        await asyncio.sleep(every_s)
        await tick()
