"""Where the core reports counts and durations."""

from __future__ import annotations

from typing import Protocol


class Observer(Protocol):
    """Where counts and times go. Labels are never ids of patients or devices."""

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a counter."""
        ...

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        ...

    def seconds(self, name: str, value_s: float, **labels: str) -> None:
        """Observe a duration in a histogram."""
        ...
