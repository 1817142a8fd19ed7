"""The published contract: a JSON Schema for every topic's value, and one AsyncAPI 3.0 document of all topics.

Pure: models and topic specifications in, documents out. `vitalwire schemas` writes them to files.
Sources: JSON Schema 2020-12; AsyncAPI 3.0.0 with its Kafka bindings 0.5.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Protocol

from pydantic import TypeAdapter

from schemas import topics
from schemas.alerts import AlertEvent
from schemas.audit import AuditEvent
from schemas.commands import DocumentCommand, PatientInfoCommand, Reply, VitalsCommand
from schemas.correction import Correction
from schemas.heartbeats import Heartbeat
from schemas.progress import DeviceProgress, PartitionProgress
from schemas.reading import Frame, QuarantineRecord, Reading
from schemas.reference import Consent, Pairing, PatientRecord
from schemas.topics import TopicSpec
from schemas.window import Window

Document = dict[str, Any]

VALUES: dict[str, TypeAdapter[Any]] = {
    topics.READINGS.name: TypeAdapter(Reading | Frame),
    topics.WINDOWS.name: TypeAdapter(Window),
    topics.LATE_READINGS.name: TypeAdapter(QuarantineRecord),
    topics.QUARANTINE.name: TypeAdapter(QuarantineRecord),
    topics.PROGRESS.name: TypeAdapter(DeviceProgress | PartitionProgress),
    topics.PAIRINGS.name: TypeAdapter(Pairing),
    topics.PATIENTS.name: TypeAdapter(PatientRecord),
    topics.CONSENTS.name: TypeAdapter(Consent),
    topics.CORRECTIONS.name: TypeAdapter(Correction),
    topics.COMMANDS_VITALS.name: TypeAdapter(VitalsCommand),
    topics.COMMANDS_DOCUMENTS.name: TypeAdapter(DocumentCommand),
    topics.COMMANDS_PATIENT_INFO.name: TypeAdapter(PatientInfoCommand),
    topics.REPLIES_VITALS.name: TypeAdapter(Reply),
    topics.REPLIES_DOCUMENTS.name: TypeAdapter(Reply),
    topics.REPLIES_PATIENT_INFO.name: TypeAdapter(Reply),
    topics.ALERTS.name: TypeAdapter(AlertEvent),
    topics.AUDIT.name: TypeAdapter(AuditEvent),
    topics.HEARTBEATS.name: TypeAdapter(Heartbeat),
}
"""Topic name → model of its value. A dead-letter topic has none: it contains the original bytes."""


class RoleTopics(Protocol):
    """Which topics a role reads and writes."""

    @property
    def name(self) -> str:
        """The role's name."""
        ...

    @property
    def receives(self) -> tuple[TopicSpec, ...]:
        """The topics that it reads."""
        ...

    @property
    def sends(self) -> tuple[TopicSpec, ...]:
        """The topics that it writes."""
        ...


_WITH_OFFSET = r"(Z|z|[+-][0-9]{2}:[0-9]{2})$"


def json_schema(topic: TopicSpec) -> Document:
    """The JSON Schema of one topic's value. Every date-time must have an offset, as the models require."""
    schema = VALUES[topic.name].json_schema(by_alias=True)
    _require_offsets(schema)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:vitalwire:schema:{topic.name}",
        "title": f"Value of {topic.name}",
        "description": topic.description,
        **{key: value for key, value in schema.items() if key not in {"title", "description"}},
    }


def asyncapi(version: str, roles: Iterable[RoleTopics]) -> Document:
    """The AsyncAPI document: every topic as a channel with key, clean-up and retention; and which role receives or sends it."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Vitalwire",
            "version": version,
            "description": (
                "Every Kafka topic of Vitalwire. A deployment may prefix every address. "
                "A channel without an operation is a reserved contract: no role of this version reads or writes it."
            ),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {_identifier(topic): _channel(topic) for topic in topics.ALL},
        "operations": {
            f"{role.name}.{action}.{_identifier(topic)}": _operation(role.name, action, topic)
            for role in roles
            for action, used in (("receive", role.receives), ("send", role.sends))
            for topic in used
        },
        "components": {"messages": {_identifier(topic): _message(topic) for topic in topics.ALL}},
    }


def files(version: str, roles: Iterable[RoleTopics]) -> dict[str, Document]:
    """File name → published document."""
    schemas = {f"{topic.name}.json": json_schema(topic) for topic in topics.ALL if topic.name in VALUES}
    return schemas | {"asyncapi.yaml": asyncapi(version, roles)}


def _require_offsets(node: Any) -> None:
    if isinstance(node, dict):
        if node.get("format") == "date-time":
            node["pattern"] = _WITH_OFFSET
        for child in node.values():
            _require_offsets(child)
    elif isinstance(node, list):
        for child in node:
            _require_offsets(child)


def _identifier(topic: TopicSpec) -> str:
    """telemetry.readings → telemetryReadings: AsyncAPI identifiers are used in references."""
    first, *rest = re.split(r"[.\-]", topic.name)
    return first + "".join(word.capitalize() for word in rest)


def _channel(topic: TopicSpec) -> Document:
    name = _identifier(topic)
    return {
        "address": topic.name,
        "description": topic.description,
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
        "bindings": {"kafka": {"topicConfiguration": _topic_configuration(topic), "bindingVersion": "0.5.0"}},
    }


def _topic_configuration(topic: TopicSpec) -> Document:
    """Settings in the form of the Kafka binding: the clean-up policy as a list, numbers as numbers."""
    known: Document = {}
    for key, value in topic.settings.items():
        if key == "cleanup.policy":
            known[key] = value.split(",")
        elif key in {"retention.ms", "delete.retention.ms", "max.message.bytes"}:
            known[key] = int(value)
        else:
            known[key] = value
    return known


def _message(topic: TopicSpec) -> Document:
    message: Document = {
        "name": topic.name,
        "summary": topic.description,
        "bindings": {"kafka": {"key": {"type": "string", "description": topic.key}, "bindingVersion": "0.5.0"}},
    }
    if topic.name in VALUES:
        message["payload"] = {"$ref": f"./{topic.name}.json"}
    else:
        message["contentType"] = "application/octet-stream"
    if topic.name.startswith("commands."):
        bearer = {
            "type": "string",
            "description": "Bearer and a signed token, because a record does not prove who sent it",
        }
        message["headers"] = {
            "type": "object",
            "required": ["authorization"],
            "properties": {"authorization": bearer, "traceparent": {"type": "string"}},
        }
    return message


def _operation(role: str, action: str, topic: TopicSpec) -> Document:
    name = _identifier(topic)
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{name}"},
        "messages": [{"$ref": f"#/channels/{name}/messages/{name}"}],
        "tags": [{"name": role}],
    }
