"""Reading a FHIR resource that may have any shape: what is not there, or is something else, is simply not found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas.ehr import ResourceVersion
from schemas.fhir_id import fhir_id
from schemas.vitals import LOINC


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; none where there is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def member(value: Any, name: str) -> Any:
    """A member of an object, or None."""
    return value.get(name) if isinstance(value, dict) else None


def loinc_codes(holder: Any) -> list[str]:
    """The LOINC codes in the `code` of an Observation or of a component."""
    codings = objects(member(member(holder, "code"), "coding"))
    return [str(coding.get("code")) for coding in codings if coding.get("system") == LOINC]


def version_of(resource: Mapping[str, Any]) -> ResourceVersion:
    """The id and version that a resource states itself; None for what is not a FHIR id."""
    meta = resource.get("meta")
    version = fhir_id(meta.get("versionId")) if isinstance(meta, Mapping) else None
    return ResourceVersion(fhir_id(resource.get("id")), version)
