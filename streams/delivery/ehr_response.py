"""Reads an untrusted response of an EHR: error codes, ids, versions, retry times. Any bytes are safe. Pure.

Sources: FHIR R4 OperationOutcome and http.html; docs/ehr-behaviour.md.
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
from streams.delivery.dialects import DIALECTS

LONGEST_WAIT_S = 3600.0
_ETAG = re.compile(rf'(?:W/)?"({FHIR_ID})"')
_ISSUE_CODE = re.compile(r"[a-z][a-z-]{0,30}")
_VENDOR_CODE = re.compile(r"[0-9]{1,9}")


class VendorCode(NamedTuple):
    """A code of an EHR's own, and the kind of EHR whose dialect knows its coding system."""

    kind: str
    code: str


class Issues(NamedTuple):
    """Codes of an OperationOutcome: the vendor's and FHIR issue types. Never its free text, which may hold PHI."""

    vendor: frozenset[VendorCode]
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
    vendor: set[VendorCode] = set()
    fhir: set[str] = set()
    for issue in _objects(resource.get("issue")):
        code = issue.get("code")
        if isinstance(code, str) and _ISSUE_CODE.fullmatch(code):
            fhir.add(code)
        details = issue.get("details")
        vendor.update(_vendor_codes(details) if isinstance(details, dict) else ())
    return Issues(frozenset(vendor), frozenset(fhir))


def _vendor_codes(details: Mapping[str, Any]) -> Iterator[VendorCode]:
    for coding in _objects(details.get("coding")):
        system, code = coding.get("system"), coding.get("code")
        kind = _kind_of(system) if isinstance(system, str) else None
        if kind is not None and isinstance(code, str) and _VENDOR_CODE.fullmatch(code):
            yield VendorCode(kind, code)


def _kind_of(system: str) -> str | None:
    """The kind of EHR that this coding system belongs to."""
    known = ((kind, dialect.code_system) for kind, dialect in DIALECTS.items())
    return next((kind for kind, prefix in known if prefix is not None and system.startswith(prefix)), None)


def _objects(value: object) -> Iterator[dict[str, Any]]:
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))


def header(response: EhrResponse, name: str) -> str | None:
    """A response header, whatever the case of its name."""
    for key, value in response.headers.items():
        if key.lower() == name:
            return value
    return None


def written_version(response: EhrResponse, resource_type: str) -> ResourceVersion:
    """Id and version from Location (relative or absolute), ETag, or a returned resource."""
    resource_id, version = _from_location(header(response, "location") or "", resource_type)
    etag = _ETAG.fullmatch((header(response, "etag") or "").strip())
    version = etag[1] if etag else version
    if resource_id is None:
        resource = json_object(response.body) or {}
        resource_id = fhir_id(resource.get("id")) if resource.get("resourceType") == resource_type else None
    return ResourceVersion(resource_id, version)


def _from_location(location: str, resource_type: str) -> tuple[str | None, str | None]:
    path = location.split("?", maxsplit=1)[0].rstrip("/")
    pattern = rf"(?:^|/){re.escape(resource_type)}/({FHIR_ID})(?:/_history/({FHIR_ID}))?\Z"
    found = re.search(pattern, path)
    return (found[1], found[2]) if found else (None, None)


def retry_after_s(response: EhrResponse, now: datetime) -> float | None:
    """How long the EHR asks us to wait: seconds or an HTTP date. Invalid values are ignored; an hour is the maximum."""
    text = (header(response, "retry-after") or "").strip()
    if re.fullmatch(r"[0-9]{1,12}", text):
        return min(float(text), LONGEST_WAIT_S)
    try:
        until = parsedate_to_datetime(text)
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        return min(max((until - now).total_seconds(), 0.0), LONGEST_WAIT_S)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def is_complete(response: EhrResponse) -> bool:
    """Whether a search returned all results."""
    return response.status == 200 and response.error is None
