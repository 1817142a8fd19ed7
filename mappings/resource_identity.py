"""Which resource this is: our identifier, and what an EHR requires of an update to know it again. Pure.

Source: FHIR R4 search (token parameters) and http.html (update).
"""

from __future__ import annotations

from mappings.fhir_json import JsonValue, Resource, objects


def identifier_token(resource: Resource) -> str | None:
    """`system|value` of our identifier, if the resource carries it."""
    for identifier in objects(resource.get("identifier")):
        if identifier.get("system") and identifier.get("value"):
            return f"{identifier['system']}|{identifier['value']}"
    return None


def with_id(resource: Resource, resource_id: str) -> dict[str, JsonValue]:
    """The resource under the id that the EHR assigned, as an update requires it."""
    return {**resource, "id": resource_id}


def with_identifiers_of(current: Resource, resource: Resource) -> dict[str, JsonValue]:
    """The resource with the identifiers of the version it replaces."""
    return {**resource, "identifier": current.get("identifier", [])}
