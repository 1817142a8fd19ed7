"""Which of a patient's encounters a result belongs to. Pure.

Source: FHIR R4 EncounterStatus and Period (bounds inclusive, no start or end where unknown); Epic refuses closed encounters and
future appointments (docs/ehr-behaviour.md §1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from schemas.fhir_id import fhir_id

ACTIVE = frozenset({"in-progress", "arrived", "triaged", "onleave"})
_INPATIENT = frozenset({"IMP", "ACUTE", "NONAC", "EMER", "OBSENC"})
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_FAR_AHEAD = datetime.max.replace(tzinfo=UTC)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


class Encounter(NamedTuple):
    """An active encounter: its reference, whether it is a stay, and from when until when, both inclusive."""

    reference: str
    is_stay: bool
    start: datetime
    end: datetime


def active_encounters(found: Iterable[Mapping[str, Any]], subject_id: str) -> tuple[Encounter, ...]:
    """The active encounters of this very patient. One whose id or period cannot be read is left out."""
    return tuple(
        Encounter(f"Encounter/{resource['id']}", _is_stay(resource), *period)
        for resource in found
        if str(resource.get("status")) in ACTIVE
        and fhir_id(resource.get("id")) is not None
        and _is_of(resource, subject_id)
        and (period := _period(resource.get("period"))) is not None
    )


def choose(encounters: Sequence[Encounter], at: datetime) -> str | None:
    """The encounter of that moment: a stay before a visit, the latest before an earlier one."""
    then = [one for one in encounters if one.start <= at <= one.end]
    return max(then, key=lambda one: (one.is_stay, one.start, one.reference)).reference if then else None


def _is_of(encounter: Mapping[str, Any], subject_id: str) -> bool:
    subject = encounter.get("subject")
    reference = str(subject.get("reference")) if isinstance(subject, Mapping) else ""
    return reference.split("/")[-2:] == ["Patient", subject_id]


def _is_stay(encounter: Mapping[str, Any]) -> bool:
    kind = encounter.get("class")
    return isinstance(kind, Mapping) and str(kind.get("code")) in _INPATIENT


def _period(period: object) -> tuple[datetime, datetime] | None:
    """None where a bound is given but cannot be read: such an encounter is never chosen."""
    if period is None:
        return _LONG_AGO, _FAR_AHEAD
    if not isinstance(period, Mapping):
        return None
    try:
        return _bound(period.get("start"), _LONG_AGO), _bound(period.get("end"), _FAR_AHEAD, whole_day=True)
    except (TypeError, ValueError, OverflowError):
        return None


def _bound(text: Any, missing: datetime, *, whole_day: bool = False) -> datetime:
    if text is None:
        return missing
    bound = datetime.fromisoformat(text)
    try:
        bound = bound.replace(tzinfo=UTC) if bound.tzinfo is None else bound.astimezone(UTC)
    except OverflowError:  # the first or last day of the calendar: unbounded
        return _FAR_AHEAD if bound.year > 1 else _LONG_AGO
    return bound + timedelta(days=1, microseconds=-1) if whole_day and _DAY.fullmatch(text) else bound
