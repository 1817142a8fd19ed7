"""How long each operation has been without an encounter, from the first look-up that found none."""

from __future__ import annotations

from datetime import datetime

_CAPACITY = 10_000


class EncounterAbsences:
    """Absences of one endpoint in one worker. Another worker starts over: it holds an operation later, never sooner."""

    def __init__(self) -> None:
        self._since: dict[str, datetime] = {}

    def waited_s(self, operation_id: str, now: datetime) -> float:
        """Seconds since the first of the look-ups in a row that found no encounter; this one found none either."""
        if operation_id not in self._since and len(self._since) >= _CAPACITY:
            self._since.clear()
        return (now - self._since.setdefault(operation_id, now)).total_seconds()

    def end(self, operation_id: str) -> None:
        """An encounter was found, or the EHR did not say: the next absence is the first."""
        self._since.pop(operation_id, None)
