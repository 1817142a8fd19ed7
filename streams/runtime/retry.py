"""Retries work in place while a dependency is unavailable, so that nothing behind it is processed first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from schemas.errors import RetryLater
from schemas.ports.observer import Observer
from streams.runtime.backoff import backoff_s

T = TypeVar("T")
LONGEST_PAUSE_S = 10.0
_MIDDLE = 0.5


async def retry_until_available(
    work: Callable[[], Awaitable[T]],
    dependency: str,
    observer: Observer,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> T:
    """Repeats `work` while it raises RetryLater; returns its result. The stall watchdog ends work that never succeeds."""
    attempt = 0
    while True:
        try:
            return await work()
        except RetryLater as unavailable:
            attempt += 1
            observer.count("retries_total", dependency=dependency)
            await pause(min(unavailable.after_s or backoff_s(attempt, _MIDDLE), LONGEST_PAUSE_S))
