"""The watchdog's thread outlives what goes wrong in it, or ends the process: it is never silently gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping

import pytest

from adapters.kafka.producer import KafkaProducer
from adapters.kafka.stall_watchdog import StallWatchdog
from adapters.kafka.topics import create_or_verify
from adapters.metrics import PrometheusObserver
from schemas.ports.kafka import Outgoing
from schemas.topics import WINDOWS
from tests.conditions import wait_until

Assigned = Callable[[], Mapping[str, Collection[int]]]


@pytest.fixture
async def topic(broker, topic_prefix) -> str:
    """Something to read on partition 0, and nobody who reads it."""
    create_or_verify(broker.bootstrap_servers, topic_prefix, 1, 1, [WINDOWS])
    producer = KafkaProducer(broker.bootstrap_servers, prefix=topic_prefix)
    await producer.send([Outgoing(WINDOWS, b"k", b"1", 0)])
    await asyncio.to_thread(producer.close)
    return WINDOWS.prefixed(topic_prefix)


def ended(kafka: str, group: str, assigned: Assigned) -> str:
    """Why the watchdog ended the worker."""
    reasons: list[str] = []
    watchdog = StallWatchdog(kafka, group, assigned, PrometheusObserver(), stall_after_s=1.0, end=reasons.append)
    watchdog.start()
    try:
        return wait_until(lambda: reasons and reasons[0], what="the end")
    finally:
        watchdog.stop()


def test_a_look_that_fails_for_once_does_not_end_the_watch(broker, topic):
    looks: list[None] = []

    def assigned() -> dict[str, set[int]]:
        looks.append(None)
        if len(looks) <= 2:
            raise RuntimeError("Set changed size during iteration")
        return {topic: {0}}

    assert f"{topic} partition 0 stays at offset" in ended(broker.bootstrap_servers, topic, assigned)


def test_a_watchdog_that_cannot_look_for_so_long_as_a_stall_may_take_ends_the_worker(broker, topic, caplog):
    def assigned() -> dict[str, set[int]]:
        raise ValueError("Mrs Example's heart rate")

    reason = ended(broker.bootstrap_servers, topic, assigned)
    assert "the stall watchdog has failed for more than 1 s (ValueError)" in reason
    assert "Example" not in reason + caplog.text


def test_a_watchdog_that_cannot_begin_ends_the_worker(broker, topic):
    settings = {"no.such.setting": "1"}
    reasons: list[str] = []
    watchdog = StallWatchdog(
        broker.bootstrap_servers,
        topic,
        dict,
        PrometheusObserver(),
        stall_after_s=1.0,
        end=reasons.append,
        extra=settings,
    )
    watchdog.start()
    assert "KafkaException" in wait_until(lambda: reasons and reasons[0], what="the end")
    watchdog.stop()
