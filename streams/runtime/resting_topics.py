"""Topics that took nothing lately: each rests for growing pauses before it is tried again, while others go on."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

from streams.runtime.backoff import backoff_s
from streams.runtime.retry import LONGEST_PAUSE_S

_MIDDLE = 0.5


class _Trouble(NamedTuple):
    refusals: int
    until_s: float


class Resting:
    """Which topics are in trouble, and until when each rests."""

    def __init__(self, clock_s: Callable[[], float] = monotonic) -> None:
        self._clock_s = clock_s
        self._troubles: dict[str, _Trouble] = {}

    def now(self) -> frozenset[str]:
        """The topics that are not to be tried yet."""
        return frozenset(name for name, trouble in self._troubles.items() if self._clock_s() < trouble.until_s)

    def is_troubled(self, topic: str) -> bool:
        """Whether it took nothing the last time."""
        return topic in self._troubles

    def begin(self, topic: str) -> bool:
        """It took nothing; true when it took everything before."""
        refusals = self._troubles[topic].refusals + 1 if topic in self._troubles else 1
        pause_s = min(backoff_s(refusals, _MIDDLE), LONGEST_PAUSE_S)
        self._troubles[topic] = _Trouble(refusals, self._clock_s() + pause_s)
        return refusals == 1

    def over(self, topic: str) -> None:
        """It takes records again."""
        self._troubles.pop(topic, None)
