"""Reading the body of a response: a resource, or a page of a search. Pure, and safe for any bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from mappings.fhir_json import objects
from schemas.ehr import EhrResponse


def resource_of(response: EhrResponse, resource_type: str) -> dict[str, Any] | None:
    """The resource of this type in a 200 response, else None."""
    if response.status != 200 or response.error is not None:
        return None
    try:
        resource = orjson.loads(response.body)
    except orjson.JSONDecodeError:
        return None
    return resource if isinstance(resource, dict) and resource.get("resourceType") == resource_type else None


def entries(bundle: Mapping[str, Any], resource_type: str) -> Iterator[dict[str, Any]]:
    """The resources of this type on a page."""
    for entry in objects(bundle.get("entry")):
        resource = entry.get("resource")
        if isinstance(resource, dict) and resource.get("resourceType") == resource_type:
            yield resource


def next_link(bundle: Mapping[str, Any]) -> str | None:
    """The address of the next page, None on the last."""
    return next((str(link.get("url")) for link in objects(bundle.get("link")) if link.get("relation") == "next"), None)
