"""Patients' encounters as they were last looked up, each for a minute. An absence is never remembered."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from time import monotonic
from typing import NamedTuple

from adapters.ehr.encounters import Encounter, choose

LIFE_S = 60.0
CAPACITY = 10_000


class _Entry(NamedTuple):
    expires_s: float
    looked_up_at: datetime
    encounters: tuple[Encounter, ...]


class EncounterCache:
    """The encounters of at most `CAPACITY` patients."""

    def __init__(self, elapsed_s: Callable[[], float] = monotonic) -> None:
        self._entries: dict[str, _Entry] = {}
        self._elapsed_s = elapsed_s

    def at(self, subject_id: str, at: datetime) -> str | None:
        """The patient's encounter at that moment, if it is known.

        A moment after the look-up is not answered: another encounter may have begun.
        """
        entry = self._entries.get(subject_id)
        if entry is None or self._elapsed_s() >= entry.expires_s or at > entry.looked_up_at:
            return None
        return choose(entry.encounters, at)

    def put(self, subject_id: str, looked_up_at: datetime, encounters: tuple[Encounter, ...]) -> None:
        """Remember what a complete search found."""
        if len(self._entries) >= CAPACITY:
            self._entries.clear()
        self._entries[subject_id] = _Entry(self._elapsed_s() + LIFE_S, looked_up_at, encounters)

    def forget(self, subject_id: str) -> None:
        """They may have changed."""
        self._entries.pop(subject_id, None)
