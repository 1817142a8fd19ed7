"""Reading elements of a FHIR Consent strictly: an element of an unknown name or type is not understood."""

from __future__ import annotations

from mappings.fhir_json import JsonObject, JsonValue

PROVISION_ELEMENTS = frozenset({"id", "extension", "type", "period", "class", "code", "actor", "purpose", "provision"})
_LONGEST_NAME = 40


class NotUnderstood(Exception):
    """An element that cannot be evaluated; the message is its name only."""


def allow_only(element: JsonObject, understood: frozenset[str]) -> None:
    """NotUnderstood when the element has a member of another name."""
    for name in element:
        if name not in understood:
            is_safe = name.isascii() and name.isalpha() and len(name) < _LONGEST_NAME
            raise NotUnderstood(name if is_safe else "an element's name")


def required_objects(element: JsonObject, name: str) -> list[JsonObject]:
    """The objects of a list; none where it is missing. NotUnderstood when it is empty or holds anything else."""
    if name not in element:
        return []
    value = element[name]
    items = value if isinstance(value, list) else []
    found: list[JsonObject] = [item for item in items if isinstance(item, dict)]
    if not found or len(found) != len(items):
        raise NotUnderstood(name)
    return found


def codes_of(concept: JsonValue, system: str) -> list[str]:
    """The codes of one system in a CodeableConcept."""
    if not isinstance(concept, dict):
        return []
    return [str(coding.get("code")) for coding in required_objects(concept, "coding") if coding.get("system") == system]
