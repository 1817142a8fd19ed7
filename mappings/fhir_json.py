"""FHIR resources as JSON: their types, and reading one that may have any shape.

What is missing, or is of another type than expected, is simply not found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from schemas.ehr import ResourceVersion
from schemas.fhir_id import fhir_id
from schemas.vitals import LOINC

JsonValue: TypeAlias = "str | int | float | bool | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
JsonObject: TypeAlias = Mapping[str, JsonValue]
Resource: TypeAlias = JsonObject
"""A FHIR resource as a template rendered it, or as an EHR returned it."""


def objects(value: JsonValue) -> list[JsonObject]:
    """The objects of a list; none where there is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def member(value: JsonValue, name: str) -> JsonValue:
    """A member of an object, or None."""
    return value.get(name) if isinstance(value, dict) else None


def codings(concept: JsonValue) -> list[JsonObject]:
    """The codings of a CodeableConcept."""
    return objects(member(concept, "coding"))


def loinc_codes(holder: JsonObject) -> list[str]:
    """The LOINC codes in the `code` of an Observation or of a component."""
    return [str(coding.get("code")) for coding in codings(holder.get("code")) if coding.get("system") == LOINC]


def version_of(resource: Resource) -> ResourceVersion:
    """The id and version that a resource states itself; None for what is not a FHIR id."""
    version = member(resource.get("meta"), "versionId")
    return ResourceVersion(fhir_id(resource.get("id")), fhir_id(version))
