"""How an Observation is searched for at an EHR. Pure. Source: FHIR R4 Observation, search parameters."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from mappings.fhir_json import JsonValue, Resource, codings, member
from mappings.resource_identity import identifier_token
from schemas.capabilities import ResourceCapabilities
from schemas.ehr import SearchParameters

_ROUNDING = timedelta(seconds=1)
"""Some servers round times to the second."""


def search_parameters(resource: Resource, capabilities: ResourceCapabilities) -> SearchParameters:
    """By our identifier where the endpoint finds it, else by patient, code and time."""
    token = identifier_token(resource)
    if capabilities.identifier_search and token is not None:
        return (("identifier", token),)
    coding = codings(resource["code"])[0]
    first, last = _span(resource)
    return (
        ("patient", str(member(resource["subject"], "reference")).rpartition("/")[2]),
        ("code", f"{coding['system']}|{coding['code']}"),
        ("date", f"ge{(first - _ROUNDING).isoformat()}"),
        ("date", f"le{(last + _ROUNDING).isoformat()}"),
    )


def _span(resource: Resource) -> tuple[datetime, datetime]:
    period = resource.get("effectivePeriod")
    if period:
        return _instant(member(period, "start")), _instant(member(period, "end"))
    return _instant(resource["effectiveDateTime"]), _instant(resource["effectiveDateTime"])


def _instant(text: JsonValue) -> datetime:
    return datetime.fromisoformat(re.sub(r"Z$", "+00:00", str(text)))
