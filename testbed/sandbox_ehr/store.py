"""The resources that the sandbox EHR accepted, in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

Resource = dict[str, Any]


class Store:
    """Resources by type and id, and the indexes that searching needs."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._last_id = 0
        self.by_type: defaultdict[str, dict[str, Resource]] = defaultdict(dict)
        self.by_patient: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        self.by_identifier: defaultdict[str, list[str]] = defaultdict(list)
        self.readings: set[tuple[object, ...]] = set()
        self.merged: dict[str, str] = {}

    def new_id(self) -> str:
        """A new id in this EHR's format."""
        self._last_id += 1
        return f"{self._prefix}{self._last_id}"

    def add(self, resource: Mapping[str, Any], resource_id: str | None = None) -> Resource:
        """Store a new resource as version 1."""
        kind = str(resource["resourceType"])
        kept = dict(resource)
        kept["id"] = resource_id or self.new_id()
        kept["meta"] = {"versionId": "1", "lastUpdated": datetime.now(UTC).isoformat(timespec="milliseconds")}
        self.by_type[kind][kept["id"]] = kept
        patient = patient_of(kept)
        if patient is not None:
            self.by_patient[kind, patient].append(kept["id"])
        for identifier in kept.get("identifier") or ():
            self.by_identifier[f"{identifier.get('system')}|{identifier.get('value')}"].append(kept["id"])
        if kind == "Observation":
            self.readings.add(reading_key(kept))
        return kept

    def replace(self, current: Resource, resource: Mapping[str, Any]) -> Resource:
        """Store the next version of a resource."""
        version = str(int(current["meta"]["versionId"]) + 1)
        kept = dict(resource) | {"id": current["id"]}
        kept["meta"] = {"versionId": version, "lastUpdated": datetime.now(UTC).isoformat(timespec="milliseconds")}
        self.by_type[str(kept["resourceType"])][kept["id"]] = kept
        return kept

    def get(self, kind: str, resource_id: str) -> Resource | None:
        """One resource."""
        return self.by_type[kind].get(resource_id)

    def of_patient(self, kind: str, patient: str) -> list[Resource]:
        """A patient's resources of a type, oldest first."""
        held = self.by_type[kind]
        return [held[resource_id] for resource_id in self.by_patient[kind, patient]]

    def identified(self, kind: str, identifier: str) -> list[Resource]:
        """Resources that carry `system|value`."""
        held = self.by_type[kind]
        return [held[resource_id] for resource_id in self.by_identifier[identifier] if resource_id in held]


def seed_patient(
    store: Store,
    id: str,  # noqa: A002 (the FHIR name)
    *,
    identifier: str | None = None,
    encounter: str | None = "in-progress",
    encounter_id: str | None = None,
    started: str = "2020-01-01T00:00:00Z",
    merged_into: str | None = None,
) -> None:
    """Add a Patient and, unless `encounter` (its status) is None, an Encounter. Existing ones stay unchanged."""
    if merged_into is not None:
        store.merged[id] = merged_into
    if store.get("Patient", id) is None:
        patient: Resource = {"resourceType": "Patient", "active": merged_into is None}
        if identifier is not None:
            patient["identifier"] = [{"system": "urn:sandbox:mrn", "value": identifier}]
        store.add(patient, id)
    encounter_id = encounter_id or f"enc-{id}"
    if encounter is not None and store.get("Encounter", encounter_id) is None:
        resource = {
            "resourceType": "Encounter",
            "status": encounter,
            "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
            "subject": {"reference": f"Patient/{id}"},
            "period": {"start": started},
        }
        store.add(resource, encounter_id)


def patient_of(resource: Mapping[str, Any]) -> str | None:
    """The id of the patient the resource is about."""
    subject = resource.get("subject")
    reference = subject.get("reference") if isinstance(subject, Mapping) else None
    if not isinstance(reference, str) or "Patient/" not in reference:
        return None
    return reference.rsplit("/", 1)[-1]


def reading_key(observation: Mapping[str, Any]) -> tuple[object, ...]:
    """What makes a vital 'the same reading': patient, code, instant, value."""
    codings = (observation.get("code") or {}).get("coding") or [{}]
    quantity = observation.get("valueQuantity") or {}
    parts = tuple(
        sorted(
            (str((c.get("code") or {}).get("coding")), str((c.get("valueQuantity") or {}).get("value")))
            for c in observation.get("component") or ()
        )
    )
    when = instant(observation.get("effectiveDateTime"))
    return patient_of(observation), codings[0].get("code"), when, quantity.get("value"), parts


def instant(text: object) -> datetime | None:
    """A FHIR dateTime with an offset, as an instant."""
    try:
        parsed = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return parsed.astimezone(UTC) if parsed.tzinfo else None
