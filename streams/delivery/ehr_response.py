"""What an EHR's answer says, read without trusting it: error codes, ids, versions, waiting times. Any bytes are safe.

Sources: FHIR R4 OperationOutcome and http.html; Epic error codes (docs/ehr-behaviour.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import orjson

from schemas.ehr import EhrResponse, ResourceVersion
from schemas.fhir_id import FHIR_ID, fhir_id

EPIC_CODES = "urn:oid:1.2.840.114350"
LONGEST_WAIT_S = 3600.0
_ETAG = re.compile(rf'(?:W/)?"({FHIR_ID})"')
_ISSUE_CODE = re.compile(r"[a-z][a-z-]{0,30}")
_VENDOR_CODE = re.compile(r"[0-9]{1,9}")


class Issues(NamedTuple):
    """Codes of an OperationOutcome: the vendor's numbers and FHIR issue types. Never its free text, which may hold PHI."""

    vendor: frozenset[str]
    fhir: frozenset[str]


def json_object(body: bytes) -> dict[str, Any] | None:
    """The body as a JSON object, or None if it is anything else."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


def issues(body: bytes) -> Issues:
    """The codes of an OperationOutcome; empty for every other body."""
    resource = json_object(body)
    if resource is None or resource.get("resourceType") != "OperationOutcome":
        return Issues(frozenset(), frozenset())
    vendor: set[str] = set()
    fhir: set[str] = set()
    for issue in _objects(resource.get("issue")):
        code = issue.get("code")
        if isinstance(code, str) and _ISSUE_CODE.fullmatch(code):
            fhir.add(code)
        details = issue.get("details")
        vendor.update(_vendor_codes(details) if isinstance(details, dict) else ())
    return Issues(frozenset(vendor), frozenset(fhir))


def _vendor_codes(details: Mapping[str, Any]) -> Iterator[str]:
    for coding in _objects(details.get("coding")):
        system, code = coding.get("system"), coding.get("code")
        epic = isinstance(system, str) and system.startswith(EPIC_CODES)
        if epic and isinstance(code, str) and _VENDOR_CODE.fullmatch(code):
            yield code


def _objects(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


def header(answer: EhrResponse, name: str) -> str | None:
    """A response header, whatever the case of its name."""
    for key, value in answer.headers.items():
        if key.lower() == name:
            return value
    return None


def written(answer: EhrResponse, resource_type: str) -> ResourceVersion:
    """Id and version from Location (relative or absolute), ETag, or a returned resource."""
    resource_id, version = _from_location(header(answer, "location") or "", resource_type)
    etag = _ETAG.fullmatch((header(answer, "etag") or "").strip())
    version = etag[1] if etag else version
    if resource_id is None:
        resource = json_object(answer.body) or {}
        resource_id = fhir_id(resource.get("id")) if resource.get("resourceType") == resource_type else None
    return ResourceVersion(resource_id, version)


def _from_location(location: str, resource_type: str) -> tuple[str | None, str | None]:
    path = location.split("?", maxsplit=1)[0].rstrip("/")
    pattern = rf"(?:^|/){re.escape(resource_type)}/({FHIR_ID})(?:/_history/({FHIR_ID}))?\Z"
    found = re.search(pattern, path)
    return (found[1], found[2]) if found else (None, None)


def retry_after_s(answer: EhrResponse, now: datetime) -> float | None:
    """How long the EHR asks us to wait: seconds or an HTTP date; nonsense is ignored, more than an hour is an hour."""
    text = (header(answer, "retry-after") or "").strip()
    if re.fullmatch(r"[0-9]{1,12}", text):
        return min(float(text), LONGEST_WAIT_S)
    try:
        until = parsedate_to_datetime(text)
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        return min(max((until - now).total_seconds(), 0.0), LONGEST_WAIT_S)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
