"""Whether a role does its work yet: what it still does before the first record, and whether its reference data is current."""

from __future__ import annotations

from collections.abc import Callable

REFERENCE = "reference data"
LEDGER = "ledger"


class Readiness:
    """Asked by whoever looks at the role's health, from other threads too."""

    def __init__(self, reference_current: Callable[[], bool], preparing: str | None = None) -> None:
        self._reference_current = reference_current
        self._preparing = preparing

    def prepared(self) -> None:
        """What had to be done first is done."""
        self._preparing = None

    def waits_for(self) -> str | None:
        """What keeps the role from its work; None while nothing does."""
        if self._preparing is not None:
            return self._preparing
        return None if self._reference_current() else REFERENCE

    def is_ready(self) -> bool:
        """Whether nothing does."""
        return self.waits_for() is None

    def detail(self) -> dict[str, str]:
        """For the heartbeat."""
        waits_for = self.waits_for()
        return {} if waits_for is None else {"waits_for": waits_for}
