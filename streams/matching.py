"""Whether an Observation found in the chart is the one we meant to write: same patient, code, time and value.

What an EHR may change on its way into the chart is left out: identifiers, displays, notes, device, method, the encounter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from streams.answers import Written, named
from streams.verdict import Found

Codes = frozenset[tuple[str, str]]


def compare(meant: Mapping[str, Any], candidates: Sequence[Mapping[str, Any]]) -> Found:
    """Sort what a search brought: the same content, or something else about the same patient, code and time."""
    same: list[Written] = []
    different = 0
    for candidate in candidates:
        if candidate.get("status") == "entered-in-error" or not _about_the_same(meant, candidate):
            continue
        if _values(meant) == _values(candidate):
            same.append(named(candidate))
        else:
            different += 1
    return Found(tuple(same), different)


def _about_the_same(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    return (
        _subject(a) == _subject(b)
        and not _codes(a.get("code")).isdisjoint(_codes(b.get("code")))
        and _times(a) == _times(b) != ()
    )


def _subject(resource: Mapping[str, Any]) -> str | None:
    """`Patient/<id>`, also where the EHR made the reference absolute."""
    subject = resource.get("subject")
    reference = subject.get("reference") if isinstance(subject, Mapping) else None
    return "/".join(reference.split("/")[-2:]) if isinstance(reference, str) else None


def _codes(concept: object) -> Codes:
    codings = concept.get("coding") if isinstance(concept, Mapping) else None
    if not isinstance(codings, list):
        return frozenset()
    return frozenset((str(c.get("system")), str(c.get("code"))) for c in codings if isinstance(c, Mapping))


def _times(resource: Mapping[str, Any]) -> tuple[datetime | None, ...]:
    if "effectiveDateTime" in resource:
        return (_instant(resource["effectiveDateTime"]),)
    period = resource.get("effectivePeriod")
    return (_instant(period.get("start")), _instant(period.get("end"))) if isinstance(period, Mapping) else ()


def _instant(text: object) -> datetime | None:
    """FHIR dateTime → instant, so that another offset or more zeros make no difference."""
    try:
        parsed = datetime.fromisoformat(str(text))
        return parsed.astimezone(UTC) if parsed.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _values(resource: Mapping[str, Any]) -> frozenset[tuple[Codes | None, object]]:
    """The value and each component's value, by code."""
    values: set[tuple[Codes | None, object]] = {(None, _value(resource))}
    components = resource.get("component")
    for component in components if isinstance(components, list) else ():
        if isinstance(component, Mapping):
            values.add((_codes(component.get("code")), _value(component)))
    return frozenset(values)


def _value(holder: Mapping[str, Any]) -> object:
    quantity = holder.get("valueQuantity")
    if not isinstance(quantity, Mapping):
        return holder.get("valueString")
    try:
        number = Decimal(str(quantity.get("value"))).normalize()
    except InvalidOperation:
        return None
    return number, quantity.get("code") or quantity.get("unit")
