"""Whether an Observation found in the chart is the one we meant to write: same patient, code, time and value.

What an EHR may change is not compared: identifiers, displays, notes, device, method, the encounter.
Total over any JSON: what cannot be read may be ours, and then contradicts. It is never an absence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final

from mappings.fhir_json import JsonObject, version_of
from schemas.ehr import ResourceVersion, SearchMatches

_UNREADABLE: Final = object()
"""Neither agrees with anything nor differs from it."""
_LARGEST_EXPONENT = 400
_PARTIAL_DATE = re.compile(r"\d{4}(-\d\d){0,2}")


def compare(meant: JsonObject, candidates: Sequence[JsonObject]) -> SearchMatches:
    """Sort the results of a search: the same content, or other content for (possibly) the same patient, code and time."""
    same: list[ResourceVersion] = []
    different = 0
    for candidate in candidates:
        if candidate.get("status") == "entered-in-error" or _is_of_something_else(meant, candidate):
            continue
        if _is_the_same(meant, candidate):
            same.append(version_of(candidate))
        else:
            different += 1
    return SearchMatches(tuple(same), different)


def _is_of_something_else(a: JsonObject, b: JsonObject) -> bool:
    """Decided by what can be read."""
    codes = _codes(a.get("code")), _codes(b.get("code"))
    apart = _UNREADABLE not in codes and not _overlap(*codes)
    return apart or _differs(_subject(a), _subject(b)) or _differs(_times(a), _times(b))


def _is_the_same(a: JsonObject, b: JsonObject) -> bool:
    """Whether all of it can be read, and is the same."""
    return (
        _agrees(_subject(a), _subject(b))
        and _agrees(_times(a), _times(b))
        and _overlap(_codes(a.get("code")), _codes(b.get("code")))
        and _agrees(_values(a), _values(b))
    )


def _differs(one: object, other: object) -> bool:
    return one is not _UNREADABLE and other is not _UNREADABLE and one != other


def _agrees(one: object, other: object) -> bool:
    return one is not _UNREADABLE and other is not _UNREADABLE and one == other


def _overlap(some: object, others: object) -> bool:
    return isinstance(some, frozenset) and isinstance(others, frozenset) and not some.isdisjoint(others)


def _subject(resource: JsonObject) -> object:
    """`Patient/<id>`, also where the EHR made the reference absolute."""
    subject = resource.get("subject")
    reference = subject.get("reference") if isinstance(subject, Mapping) else None
    return "/".join(reference.split("/")[-2:]) if isinstance(reference, str) else _UNREADABLE


def _codes(concept: object) -> object:
    """(system, code) of each coding."""
    codings = concept.get("coding") if isinstance(concept, Mapping) else None
    if not isinstance(codings, list) or not codings:
        return _UNREADABLE
    codes = frozenset(_code(coding) for coding in codings)
    return _UNREADABLE if _UNREADABLE in codes else codes


def _code(coding: object) -> object:
    if not isinstance(coding, Mapping):
        return _UNREADABLE
    system, code = coding.get("system"), coding.get("code")
    readable = isinstance(system, str | None) and isinstance(code, str | None)
    return (system, code) if readable else _UNREADABLE


def _times(resource: JsonObject) -> object:
    if "effectiveDateTime" in resource:
        times: tuple[object, ...] = (_instant(resource["effectiveDateTime"]),)
    elif isinstance(period := resource.get("effectivePeriod"), Mapping):
        times = (_instant(period.get("start")), _instant(period.get("end")))
    else:
        return _UNREADABLE
    return _UNREADABLE if _UNREADABLE in times else times


def _instant(text: object) -> object:
    """FHIR dateTime → instant, so that another offset or more zeros make no difference. A date is no instant of ours."""
    if not isinstance(text, str):
        return _UNREADABLE
    if _PARTIAL_DATE.fullmatch(text):
        return text
    try:
        parsed = datetime.fromisoformat(text)
        return parsed.astimezone(UTC) if parsed.tzinfo else _UNREADABLE
    except (ValueError, OverflowError):
        return _UNREADABLE


def _values(resource: JsonObject) -> object:
    """The value and each component's value, by code."""
    components = resource.get("component", [])
    if not isinstance(components, list) or not all(isinstance(one, Mapping) for one in components):
        return _UNREADABLE
    values = [(None, _value(resource)), *((_codes(one.get("code")), _value(one)) for one in components)]
    return _UNREADABLE if any(_UNREADABLE in value for value in values) else frozenset(values)


def _value(holder: JsonObject) -> object:
    if "valueQuantity" in holder:
        quantity = holder["valueQuantity"]
        return _quantity(quantity) if isinstance(quantity, Mapping) else _UNREADABLE
    text = holder.get("valueString")
    return text if text is None or isinstance(text, str) else _UNREADABLE


def _quantity(quantity: JsonObject) -> object:
    number, unit = _number(quantity.get("value")), quantity.get("code") or quantity.get("unit")
    return (number, unit) if number is not None and isinstance(unit, str) else _UNREADABLE


def _number(value: object) -> Decimal | None:
    """Exact; None if it is no number, or too large or too small to compute with."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = Decimal(str(value))
    except (InvalidOperation, ValueError):
        return None
    return number if number.is_finite() and abs(number.adjusted()) <= _LARGEST_EXPONENT else None
