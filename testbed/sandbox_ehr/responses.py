"""The sandbox EHR's responses, with the headers that the real EHRs send. Source: docs/ehr-behaviour.md §1, §2, §8."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import orjson
from starlette.responses import Response

from testbed.sandbox_ehr.profile import EPIC_ERRORS, Profile
from testbed.sandbox_ehr.rules import Refusal
from testbed.sandbox_ehr.store import Resource

FHIR_JSON = "application/fhir+json"


def json(status: int, body: object, headers: dict[str, str] | None = None) -> Response:
    """A FHIR JSON response."""
    return Response(orjson.dumps(body), status, headers, FHIR_JSON)


def issue(profile: Profile, number: str | None, code: str, words: str, severity: str = "error") -> dict[str, Any]:
    """One issue of an OperationOutcome; Epic adds its own number."""
    entry: dict[str, Any] = {"severity": severity, "code": code, "diagnostics": words}
    if profile.rules == "epic" and number is not None:
        entry["details"] = {"coding": [{"system": EPIC_ERRORS, "code": number, "display": words}], "text": words}
    return entry


def outcome(*issues: dict[str, Any]) -> dict[str, Any]:
    """An OperationOutcome."""
    return {"resourceType": "OperationOutcome", "issue": list(issues)}


def refused(profile: Profile, refusal: Refusal, base_url: str) -> Response:
    """A refusal with its OperationOutcome."""
    headers = {"Location": f"{base_url}/{refusal.location}"} if refusal.location else None
    return json(refusal.status, outcome(issue(profile, refusal.number, refusal.issue, refusal.words)), headers)


def created(profile: Profile, resource: Resource, base_url: str, prefer: str) -> Response:
    """201 for a new resource."""
    headers = _headers(profile, resource, base_url)
    if "return=representation" in prefer and profile.rules != "oracle-health":
        return json(201, resource, headers)
    if profile.rules == "fhir":
        return json(201, resource, headers)
    return Response(b"", 201, headers, "text/html" if profile.rules == "oracle-health" else None)


def existing(profile: Profile, resource: Resource, base_url: str) -> Response:
    """200 for an update, or for a conditional create that found its resource."""
    return json(200, resource, _headers(profile, resource, base_url))


def _headers(profile: Profile, resource: Resource, base_url: str) -> dict[str, str]:
    path = f"{resource['resourceType']}/{resource['id']}"
    headers = {"Location": f"{base_url}/{path}" if profile.absolute_location else path}
    version = resource["meta"]["versionId"]
    if profile.etag:
        headers["ETag"] = f'W/"{version}"'
    if profile.rules == "fhir":
        headers["Location"] += f"/_history/{version}"
    if profile.rules == "oracle-health":
        identity = str(uuid4())
        headers |= {
            "Cache-Control": "no-cache", "Vary": "Origin", "X-Request-Id": identity, "opc-request-id": identity,
        }  # fmt: skip
    return headers


def bundle(
    resources: list[Resource], base_url: str, self_url: str, following: str | None, warnings: list[dict[str, Any]]
) -> Response:
    """A searchset."""
    links = [{"relation": "self", "url": self_url}]
    if following is not None:
        links.append({"relation": "next", "url": following})
    entries: list[dict[str, Any]] = [
        {"fullUrl": f"{base_url}/{r['resourceType']}/{r['id']}", "resource": r, "search": {"mode": "match"}}
        for r in resources
    ]
    if warnings:
        entries.append({"resource": outcome(*warnings), "search": {"mode": "outcome"}})
    return json(200, {"resourceType": "Bundle", "type": "searchset", "link": links, "entry": entries})


def capability_statement(profile: Profile) -> dict[str, Any]:
    """The CapabilityStatement of /metadata."""
    interactions = ["read", "search-type", "create"] + (["update"] if profile.updates else [])
    observation = {
        "type": "Observation",
        "interaction": [{"code": code} for code in interactions],
        "conditionalCreate": profile.conditional_create,
        "conditionalUpdate": False,
        "updateCreate": False,
        "searchParam": [{"name": n} for n in sorted(profile.search_parameters["Observation"]) if n[0] != "_"],
    }
    reads = [
        {"type": kind, "interaction": [{"code": "read"}, {"code": "search-type"}]} for kind in ("Patient", "Encounter")
    ]
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-11-21",
        "kind": "instance",
        "software": {"name": f"vitalwire sandbox EHR ({profile.name})"},
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [{"mode": "server", "resource": [observation, *reads]}],
    }
