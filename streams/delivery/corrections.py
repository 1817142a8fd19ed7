"""Which charted results contradict the current records, and which part of a history changed. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import NamedTuple

from schemas.correction import Correction
from schemas.instants import epoch_ms, from_epoch_ms
from schemas.operation import Intent, Operation
from schemas.ports.reference import ReferenceData
from schemas.reference import Pairing, PatientRecord
from streams.delivery.review import is_given, subject_now

Name = Callable[..., str]
"""A keyed hash, so that the stored history of a record names no patient."""

_NAME_CHARACTERS = 16
_Interval = tuple[int, int | None, str]


class Span(NamedTuple):
    """From first to last, both inclusive; None is open."""

    first: datetime | None
    last: datetime | None


def correction(operation: Operation, reference: ReferenceData, noticed_at: datetime) -> Correction | None:
    """The correction to review if a readable record contradicts a charted result, or None."""
    intent = operation.intent
    pairing = _pairing(intent, reference)
    paired = pairing is None or is_given(intent, pairing)
    if paired:
        subject_id = subject_now(intent, reference)
        if subject_id is None or subject_id == intent.subject_id:
            return None
    return Correction(
        tenant_id=intent.tenant_id,
        patient_id=intent.patient_id,
        operation_id=operation.operation_id,
        endpoint=intent.endpoint,
        subject_id=intent.subject_id,
        resource_id=operation.resource_id,
        device_id=intent.source.device_id or "unknown",
        type=intent.scope,
        first_time=intent.source.first_time or intent.occurred_at,
        last_time=intent.source.last_time or intent.occurred_at,
        cause="subject_changed" if paired else "pairing_changed",
        noticed_at=noticed_at,
    )


def agrees(operation: Operation, reference: ReferenceData) -> bool:
    """Whether the records confirm the chart it is in. A missing or blocked record neither confirms nor contradicts."""
    intent = operation.intent
    pairing = _pairing(intent, reference)
    paired = intent.source.device_id is None if pairing is None else is_given(intent, pairing)
    return paired and subject_now(intent, reference) == intent.subject_id


def _pairing(intent: Intent, reference: ReferenceData) -> Pairing | None:
    return None if intent.source.device_id is None else reference.pairing(intent.tenant_id, intent.source.device_id)


def pairing_fingerprint(pairing: Pairing, name: Name) -> str:
    """The stored form of a device's history: when it changed hands, with hashes of the patients."""
    spans = [_interval(span.since, span.until, _short(name, span.patient_id)) for span in pairing.intervals]
    return _text(sorted(spans, key=str))


def patient_fingerprint(patient: PatientRecord, name: Name) -> str:
    """The stored form of a patient's ids: a hash per endpoint."""
    return _text({endpoint: _short(name, endpoint, subject) for endpoint, subject in patient.subject_ids.items()})


def changed_span(before: str | None, after: str) -> Span | None:
    """The span in which a device's history has changed, or None."""
    if before is None:
        return Span(None, None)
    old, new = _intervals(before), _intervals(after)
    bounds = sorted({bound for since, until, _ in (*old, *new) for bound in (since, until) if bound is not None})
    changed = [at for at, bound in enumerate(bounds) if _who(old, bound) != _who(new, bound)]
    if not changed:
        return None
    end = changed[-1] + 1
    return Span(_instant(bounds[changed[0]]), _instant(bounds[end]) if end < len(bounds) else None)


def hull(one: Span | None, other: Span | None) -> Span | None:
    """The shortest span that contains both."""
    if one is None or other is None:
        return one or other
    first = None if one.first is None or other.first is None else min(one.first, other.first)
    return Span(first, None if one.last is None or other.last is None else max(one.last, other.last))


def changed_endpoints(before: str | None, after: str) -> list[str]:
    """Endpoints at which the patient's id has changed. A missing id is not a changed id."""
    known = json.loads(before) if before else {}
    return [endpoint for endpoint, subject in json.loads(after).items() if known.get(endpoint) != subject]


def remembered(before: str | None, after: str) -> str:
    """A patient's ids, including removed ones, so that an id that returns with another value is noticed."""
    return _text((json.loads(before) if before else {}) | json.loads(after))


def _interval(since: datetime, until: datetime | None, patient: str) -> _Interval:
    return epoch_ms(since), None if until is None else epoch_ms(until), patient


def _intervals(text: str) -> list[_Interval]:
    return [(since, until, patient) for since, until, patient in json.loads(text)]


def _who(intervals: Iterable[_Interval], at: int) -> set[str]:
    """Whose it was from this bound to the next."""
    return {patient for since, until, patient in intervals if since <= at and (until is None or at < until)}


def _short(name: Name, *parts: str) -> str:
    return name(*parts)[:_NAME_CHARACTERS]


def _text(value: object) -> str:
    """ASCII, so that every database can store it, whatever names it contains."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _instant(ms: int) -> datetime | None:
    """None (open) beyond the range of UTC: west of Greenwich the year 9999 ends later."""
    try:
        return from_epoch_ms(ms)
    except OverflowError:
        return None
