"""Metrics of the clinical role."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.operation import Intent
from schemas.ports.clock import Clock
from schemas.ports.ledger import Recorded
from schemas.ports.observer import Observer
from streams.clinical.intents import QuarantinedWindows, Unrendered


class ClinicalMetrics:
    """Windows by outcome, dead letters, and the time from a window to its intent."""

    def __init__(self, observer: Observer, clock: Clock) -> None:
        self._observer = observer
        self._clock = clock

    def not_published(self, windows: int) -> None:
        """Windows that are not to be charted."""
        self._windows("not_published", "", windows)

    def quarantined(self, quarantined: QuarantinedWindows) -> None:
        """A result is quarantined."""
        self._windows("quarantined", quarantined.reason, len(quarantined.group))

    def unrendered(self, fault: Unrendered) -> None:
        """A template failed: the windows of the result become dead letters."""
        self._windows("dead_letter", fault.code, len(fault.group))
        self.dead_letters(fault.code, len(fault.group))

    def dead_letters(self, code: str, records: int = 1) -> None:
        """Records become dead letters."""
        if records:
            self._observer.count("dead_letters_total", records, stage="clinical", code=code)

    def recorded(self, intents: Sequence[Intent], recorded: Sequence[Recorded]) -> None:
        """Intents are in the ledger."""
        now = self._clock()
        for intent, entry in zip(intents, recorded, strict=True):
            self._windows(_outcome(entry), "", len(intent.source.part_ids))
            if intent.produced_at is not None and not entry.duplicate:
                self._observer.seconds("window_to_intent_seconds", (now - intent.produced_at).total_seconds())

    def _windows(self, outcome: str, reason: str, windows: int) -> None:
        self._observer.count("clinical_windows_total", windows, outcome=outcome, reason=reason)


def _outcome(entry: Recorded) -> str:
    if entry.duplicate:
        return "duplicate"
    return "amended" if entry.amends else "recorded"
