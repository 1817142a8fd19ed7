"""The forms of an Observation in the chart: the first of its windows, the next version of it, part of an encounter. Pure.

Source: FHIR R4 ObservationStatus.
"""

from __future__ import annotations

from mappings.fhir_json import JsonValue, Resource


def as_original(resource: Resource) -> dict[str, JsonValue]:
    """The Observation with status final."""
    return {**resource, "status": "final"}


def as_amendment(resource: Resource) -> dict[str, JsonValue]:
    """The Observation with status amended."""
    return {**resource, "status": "amended"}


def with_encounter(resource: Resource, reference: str) -> dict[str, JsonValue]:
    """The Observation of an encounter, e.g. `Encounter/e1`."""
    return {**resource, "encounter": {"reference": reference}}
