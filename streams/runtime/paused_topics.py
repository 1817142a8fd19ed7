"""Topics that rejected the last attempt: each is retried with exponential backoff and delays no other topic."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

from streams.runtime.backoff import backoff_s
from streams.runtime.retry import LONGEST_PAUSE_S

_MIDDLE = 0.5


class _Pause(NamedTuple):
    failures: int
    until_s: float


class PausedTopics:
    """Which topics are paused, and until when."""

    def __init__(self, clock_s: Callable[[], float] = monotonic) -> None:
        self._clock_s = clock_s
        self._pauses: dict[str, _Pause] = {}

    def paused(self) -> frozenset[str]:
        """The topics that must not be tried yet."""
        return frozenset(name for name, pause in self._pauses.items() if self._clock_s() < pause.until_s)

    def is_failing(self, topic: str) -> bool:
        """Whether the last attempt failed."""
        return topic in self._pauses

    def failed(self, topic: str) -> bool:
        """An attempt failed; true if the one before did not."""
        failures = self._pauses[topic].failures + 1 if topic in self._pauses else 1
        pause_s = min(backoff_s(failures, _MIDDLE), LONGEST_PAUSE_S)
        self._pauses[topic] = _Pause(failures, self._clock_s() + pause_s)
        return failures == 1

    def succeeded(self, topic: str) -> None:
        """The topic accepts records again."""
        self._pauses.pop(topic, None)
