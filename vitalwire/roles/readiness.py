"""Whether a role is ready: it has finished its preparation, and its reference data is current."""

from __future__ import annotations

from collections.abc import Callable

REFERENCE = "reference data"
LEDGER = "ledger"


class Readiness:
    """Read by health checks and heartbeats. Thread-safe."""

    def __init__(self, reference_current: Callable[[], bool], preparing: str | None = None) -> None:
        self._reference_current = reference_current
        self._preparing = preparing

    def prepared(self) -> None:
        """The preparation is finished."""
        self._preparing = None

    def waits_for(self) -> str | None:
        """What the role waits for before it processes records; None when it is ready."""
        if self._preparing is not None:
            return self._preparing
        return None if self._reference_current() else REFERENCE

    def is_ready(self) -> bool:
        """Whether the role processes records."""
        return self.waits_for() is None

    def detail(self) -> dict[str, str]:
        """The heartbeat's detail: what the role waits for."""
        waits_for = self.waits_for()
        return {} if waits_for is None else {"waits_for": waits_for}
