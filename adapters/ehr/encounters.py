"""Which of a patient's encounters a result belongs to. Pure.

Source: FHIR R4 EncounterStatus; Epic refuses closed encounters and future appointments (docs/ehr-behaviour.md §1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

ACTIVE = frozenset({"in-progress", "arrived", "triaged", "onleave"})
_INPATIENT = frozenset({"IMP", "ACUTE", "NONAC", "EMER", "OBSENC"})
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def choose_active(encounters: Sequence[Mapping[str, Any]], subject_id: str, at: datetime) -> str | None:
    """The active encounter of this very patient begun by then: a stay before a visit, the latest before an earlier one."""
    active = [
        (_is_stay(e), start, str(e["id"]))
        for e in encounters
        if str(e.get("status")) in ACTIVE and e.get("id") and _is_of(e, subject_id)
        if (start := _start(e)) <= at
    ]
    return f"Encounter/{max(active)[2]}" if active else None


def _is_of(encounter: Mapping[str, Any], subject_id: str) -> bool:
    subject = encounter.get("subject")
    reference = str(subject.get("reference")) if isinstance(subject, Mapping) else ""
    return reference.split("/")[-2:] == ["Patient", subject_id]


def _is_stay(encounter: Mapping[str, Any]) -> bool:
    kind = encounter.get("class")
    return isinstance(kind, Mapping) and str(kind.get("code")) in _INPATIENT


def _start(encounter: Mapping[str, Any]) -> datetime:
    period = encounter.get("period")
    try:
        start = datetime.fromisoformat(str(period["start"])) if isinstance(period, Mapping) else _LONG_AGO
    except (KeyError, ValueError):
        return _LONG_AGO
    return start if start.tzinfo else start.replace(tzinfo=UTC)
