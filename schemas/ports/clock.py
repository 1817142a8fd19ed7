"""The wall clock, as a port."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """The wall clock, passed in so that tests own time."""

    def __call__(self) -> datetime:
        """The current instant, with UTC offset."""
        ...
