"""Waiting for what must come true, in place of sleeping for as long as it might take."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
POLL_S = 0.02


def wait_until(condition: Callable[[], T], timeout_s: float = 30.0, *, what: str = "the condition") -> T:
    """The first truthy answer of `condition`; AssertionError when none came in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        if answer := condition():
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout_s:g} s")
        time.sleep(POLL_S)


async def until(condition: Callable[[], object], timeout_s: float = 30.0) -> None:
    """The same while the event loop runs; the condition is looked at in another thread."""
    await asyncio.to_thread(wait_until, condition, timeout_s)
