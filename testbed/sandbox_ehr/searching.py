"""Searches as each profile processes them: known and unknown parameters, pages. Source: docs/ehr-behaviour.md §1, §2, §8."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from testbed.sandbox_ehr.profile import Profile
from testbed.sandbox_ehr.rules import Refusal
from testbed.sandbox_ehr.store import Resource, Store, instant, patient_of

Params = Sequence[tuple[str, str]]
MOST_A_PAGE = 200


def search(
    profile: Profile, store: Store, kind: str, params: Params, *, overlap: int = 0
) -> tuple[list[Resource], int | None, list[str]] | Refusal:
    """(this page, offset of the next page, unknown parameters), or a refusal. `overlap` repeats rows of the page before."""
    known = profile.search_parameters[kind]
    unknown = [name for name, _ in params if name not in known]
    used = [(name, value) for name, value in params if name in known]
    by = dict(used)
    if profile.unknown_parameter == "refuse" and unknown and not (set(by) - {"_count", "_offset"}):
        return Refusal(400, None, "invalid", "no supported search parameter")
    missing = _missing(profile, kind, by)
    if missing is not None:
        return missing
    matches = [r for r in _candidates(store, kind, by) if all(_matches(r, kind, n, v) for n, v in used)]
    count = min(int(by.get("_count", profile.page)), MOST_A_PAGE)
    offset = int(by.get("_offset", 0))
    page = matches[max(offset - overlap, 0) if offset else 0 : offset + count]
    return page, (offset + count if offset + count < len(matches) else None), unknown


def _missing(profile: Profile, kind: str, by: Mapping[str, str]) -> Refusal | None:
    patient = "patient" in by or "subject" in by or "_id" in by
    if profile.rules == "epic" and kind == "Observation" and not (patient and {"category", "code", "_id"} & set(by)):
        return Refusal(400, "4111", "required", "patient and one of category or code are required")
    if profile.rules == "oracle-health" and kind != "Patient" and not patient:
        return Refusal(400, None, "required", "patient or _id is required")
    return None


def _candidates(store: Store, kind: str, by: Mapping[str, str]) -> list[Resource]:
    if "_id" in by:
        one = store.get(kind, by["_id"])
        return [one] if one is not None else []
    patient = by.get("patient") or by.get("subject")
    if patient is not None:
        return store.of_patient(kind, patient.rsplit("/", 1)[-1])
    if "identifier" in by:
        return store.identified(kind, by["identifier"])
    return list(store.by_type[kind].values())


def _matches(resource: Resource, kind: str, name: str, value: str) -> bool:
    if name in ("patient", "subject"):
        return patient_of(resource) == value.rsplit("/", 1)[-1]
    if name == "status":
        return resource.get("status") in value.split(",")
    if name == "date":
        return _in_time(resource, kind, value)
    if name in ("code", "category"):
        concepts = [resource.get("code")] if name == "code" else resource.get("category") or ()
        return any(_token(concept, one) for concept in concepts for one in value.split(","))
    return name != "identifier" or value in [
        f"{i.get('system')}|{i.get('value')}" for i in resource.get("identifier") or ()
    ]


def _token(concept: object, wanted: str) -> bool:
    system, bar, code = wanted.rpartition("|")
    codings = (concept.get("coding") or []) if isinstance(concept, Mapping) else []
    return any(c.get("code") == code and (not bar or c.get("system") == system) for c in codings)


def _in_time(resource: Resource, kind: str, value: str) -> bool:
    prefix, text = (value[:2], value[2:]) if value[:2] in ("ge", "gt", "le", "lt", "eq") else ("eq", value)
    wanted = instant(text)
    first, last = _span(resource, kind)
    if wanted is None or first is None or last is None:
        return False
    return {
        "ge": last >= wanted,
        "gt": last > wanted,
        "le": first <= wanted,
        "lt": first < wanted,
        "eq": first <= wanted <= last,
    }[prefix]


def _span(resource: Resource, kind: str) -> tuple[datetime | None, datetime | None]:
    period: Any = resource.get("period" if kind == "Encounter" else "effectivePeriod")
    if isinstance(period, Mapping):
        return instant(period.get("start")), instant(period.get("end")) or datetime.max.replace(tzinfo=UTC)
    when = instant(resource.get("effectiveDateTime"))
    return when, when


def next_link(url: str, params: Params, offset: int) -> str:
    """The address of the next page."""
    return f"{url}?{urlencode([(n, v) for n, v in params if n != '_offset'] + [('_offset', str(offset))])}"
