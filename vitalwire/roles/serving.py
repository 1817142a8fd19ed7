"""How a role runs: until SIGTERM or Ctrl-C, with heartbeats, and with a watchdog where it reads a topic."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from adapters.kafka.producer import KafkaProducer
from adapters.kafka.stall_watchdog import StallWatchdog
from schemas.config import Config
from schemas.heartbeats import Heartbeat
from schemas.topics import TopicSpec
from streams.runtime.batches import BatchRole
from streams.runtime.heartbeat import HeartbeatEmitter
from streams.runtime.record_batches import Limits
from streams.runtime.worker import WorkerSettings, run
from vitalwire import __version__
from vitalwire.roles.context import RoleContext, now
from vitalwire.roles.reloading import ConfigurationWatch
from vitalwire.settings import Settings

_COLLECT_RARELY = (200_000, 20, 100)


@dataclass(frozen=True, slots=True)
class Batches:
    """A role that processes batches of one topic; `tick` is called every `every_s` between them.

    `prepare` runs in a thread before the role joins its group: it would block the event loop while a partition waits.
    """

    role: BatchRole
    topic: TopicSpec
    tick: Callable[[], Awaitable[object]] | None = None
    every_s: float | None = None
    started: Callable[[Any], None] = lambda _app: None
    prepare: Callable[[], None] = lambda: None


def group_of(settings: Settings, role: str) -> str:
    """The consumer group of a role."""
    return f"{settings.topic_prefix}vitalwire-{role}"


async def batches(context: RoleContext, sender: KafkaProducer, name: str, work: Batches) -> bool:
    """Run a batch role as a Faust worker, with a watchdog outside Faust. True: restart with the changed configuration."""
    settings = context.settings
    topic = work.topic.prefixed(settings.topic_prefix)
    group = group_of(settings, name)
    apps: list[Any] = []

    def started(app: Any) -> None:
        apps.append(app)
        work.started(app)

    def assigned() -> Mapping[str, set[int]]:
        return {topic: {tp.partition for app in apps for tp in app.consumer.assignment()}}

    async def serve(stop: asyncio.Event) -> None:
        await asyncio.to_thread(work.prepare)
        context.readiness.prepared()
        if stop.is_set():
            return
        watchdog = StallWatchdog(
            settings.bootstrap_servers(), group, assigned, context.observer, stall_after_s=stall_after_s(context.config)
        )
        watchdog.start()
        try:
            where = WorkerSettings(
                settings.bootstrap_servers(),
                group,
                topic,
                settings.data / "faust",
                Limits(context.config.telemetry.max_record_bytes, context.config.telemetry.max_batch_bytes),
                session_timeout_s=settings.session_timeout_s,
            )
            await run(where, work.role, stop, context.observer, every_s=work.every_s, tick=work.tick, started=started)
        finally:
            watchdog.stop()

    return await until_stopped(context, sender, name, serve)


async def until_stopped(
    context: RoleContext, sender: KafkaProducer, name: str, serve: Callable[[asyncio.Event], Awaitable[None]]
) -> bool:
    """Serve until SIGTERM, Ctrl-C or a valid change of the configuration, with heartbeats; true for the last."""
    collect_garbage_rarely()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    changed = asyncio.create_task(_stop_when_changed(context, stop))
    identity = Heartbeat(role=name, instance=context.instance, at=now(), version=__version__, ready=False)
    readiness = context.readiness
    heartbeat = HeartbeatEmitter(identity, sender, now, context.observer, readiness.is_ready, readiness.detail)
    beating = asyncio.create_task(heartbeat.run())
    try:
        await serve(stop)
    finally:
        for task in (beating, changed):
            task.cancel()
        _, restart = await asyncio.gather(beating, changed, return_exceptions=True)
    return restart is True


def collect_garbage_rarely() -> None:
    """A batch is tens of thousands of young objects, hardly one in a cycle.

    At the default thresholds the collector took three quarters of the telemetry role's consumer thread (measured,
    docs/adr/0004).
    """
    gc.freeze()
    gc.set_threshold(*_COLLECT_RARELY)


async def _stop_when_changed(context: RoleContext, stop: asyncio.Event) -> bool:
    await ConfigurationWatch(context.settings.configuration(), context.config_seen, context.observer).changed()
    stop.set()
    return True


def stall_after_s(config: Config) -> float:
    """Without progress for this long a partition is stalled. An open window holds its offset back, which is no stall."""
    longest_ms = max(vital.window + vital.grace + vital.idle for vital in config.vitals.values())
    return (config.telemetry.stall_after + longest_ms + config.telemetry.max_open) / 1000
