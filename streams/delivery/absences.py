"""Since when each operation's patient is known to have no encounter: only looking tells, however long it waited before."""

from __future__ import annotations

from datetime import datetime

_REMEMBERED = 10_000


class EncounterAbsences:
    """First looks of one endpoint, kept by one worker: begun anew elsewhere, an operation is held later, never sooner."""

    def __init__(self) -> None:
        self._since: dict[str, datetime] = {}

    def waited_s(self, operation_id: str, now: datetime) -> float:
        """Seconds since the first of the looks in a row that found no encounter; none was found now."""
        if operation_id not in self._since and len(self._since) >= _REMEMBERED:
            self._since.clear()
        return (now - self._since.setdefault(operation_id, now)).total_seconds()

    def end(self, operation_id: str) -> None:
        """An encounter was found, or the EHR did not say: the next absence is the first."""
        self._since.pop(operation_id, None)
