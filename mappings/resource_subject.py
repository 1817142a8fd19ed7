"""The patient that a resource is about, as its `subject`. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from mappings.fhir_json import JsonValue, Resource


def with_subject(resource: Resource, from_id: str, to_id: str) -> dict[str, JsonValue] | None:
    """The resource with its reference to the patient changed; None if it names the former id anywhere else too."""
    former = f"Patient/{from_id}"
    subject = resource.get("subject")
    if not isinstance(subject, Mapping) or subject.get("reference") != former:
        return None
    others = [member for name, member in resource.items() if name != "subject"]
    others += [member for name, member in subject.items() if name != "reference"]
    if any(former in text or text == from_id for text in _texts(others)):
        return None
    return {**resource, "subject": {**subject, "reference": f"Patient/{to_id}"}}


def _texts(values: Iterable[JsonValue]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            yield from _texts(value.values())
        elif isinstance(value, list):
            yield from _texts(value)
