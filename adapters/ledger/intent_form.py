"""An intent as bytes in the ledger. The version of the form is part of it: intents of every version before can be read.

Version 1 is a flat document without a version: of a window, for the purpose "vitals". Pure.
"""

from __future__ import annotations

from pydantic import JsonValue, ValidationError
from pydantic_core import from_json

from schemas.operation import Intent

VERSION = 2
Document = dict[str, JsonValue]


def encode(intent: Intent) -> bytes:
    """The intent in the present form."""
    return b'{"version":%d,"intent":%b}' % (VERSION, intent.model_dump_json().encode())


def decode(content: bytes) -> Intent | None:
    """The intent of any known form; None where it is of none."""
    try:
        document = from_json(content)
        return Intent.model_validate(upgrade(document)) if isinstance(document, dict) else None
    except (ValidationError, ValueError, KeyError, TypeError):
        return None


def upgrade(document: Document) -> JsonValue:
    """A stored document as one of the present version. ValueError for a version that this program does not know."""
    version = document.get("version", 1)
    if version == VERSION:
        return document["intent"]
    if version == 1:
        return _from_version_1(document)
    raise ValueError("an intent of an unknown version")


def _from_version_1(document: Document) -> Document:
    same = ("tenant_id", "endpoint", "patient_id", "subject_id", "content_hash")
    return {
        **{name: document[name] for name in same},
        "resource_type": document.get("resource_type", "Observation"),
        "purpose": "vitals",
        "scope": document["vital_type"],
        "source": {
            "kind": "window",
            "event_id": document["source_event_id"],
            "part_ids": document["source_ids"],
            **{name: document.get(name) for name in ("device_id", "first_time", "last_time")},
        },
        "payload": document["resource"],
        "occurred_at": document["measured_at"],
        "produced_at": document.get("window_closed_at"),
    }
