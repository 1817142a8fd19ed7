"""The published JSON Schemas and the AsyncAPI document: current, consistent, and as strict as the models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from schemas import topics
from schemas.publish import asyncapi, files, json_schema
from vitalwire.roles.registry import ROLES

PUBLISHED = Path(__file__).parents[2] / "schemas" / "published"
READING = {"device_id": "mon-1", "type": "heart_rate", "value": 72, "unit": "/min", "time": "2026-01-05T10:00:00.000Z"}


def _accepts(topic: topics.TopicSpec, value: object) -> bool:
    return jsonschema.Draft202012Validator(json_schema(topic)).is_valid(value)


@pytest.mark.parametrize("name", sorted(files("0", ROLES)))
def test_the_committed_file_is_what_the_models_generate_now(name: str) -> None:
    committed = (PUBLISHED / name).read_text()
    parsed = yaml.safe_load(committed) if name.endswith(".yaml") else json.loads(committed)
    version = parsed["info"]["version"] if name.endswith(".yaml") else "0"
    assert parsed == files(version, ROLES)[name]


def test_nothing_else_is_published() -> None:
    assert {path.name for path in PUBLISHED.iterdir()} == set(files("0", ROLES))


@pytest.mark.parametrize("name", sorted(name for name in files("0", ROLES) if name.endswith(".json")))
def test_every_published_schema_is_a_valid_json_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(files("0", ROLES)[name])


@pytest.mark.parametrize(
    "value",
    [
        READING,
        READING | {"time": 1_767_607_200_000, "seq": 4, "tenant_id": "north", "patient_id": "p-9"},
        {"device_id": "mon-1", "readings": [{k: v for k, v in READING.items() if k != "device_id"}]},
    ],
)
def test_a_reading_or_frame_as_the_contract_shows_it_is_accepted(value: dict[str, Any]) -> None:
    assert _accepts(topics.READINGS, value)


@pytest.mark.parametrize(
    "change",
    [
        {"time": "2026-01-05T10:00:00.000"},
        {"value": "72"},
        {"unit": None},
        {"device_id": ""},
        {"type": 8867},
    ],
)
def test_a_reading_that_breaks_the_contract_is_refused(change: dict[str, Any]) -> None:
    assert not _accepts(topics.READINGS, READING | change)


def test_a_frame_without_readings_is_refused() -> None:
    assert not _accepts(topics.READINGS, {"device_id": "mon-1", "readings": []})


def test_pairing_intervals_are_published_under_their_wire_names() -> None:
    interval = {"patient_id": "p-9", "from": "2026-01-05T08:00:00Z", "until": None}
    pairing = {"tenant_id": "north", "device_id": "mon-17", "intervals": [interval]}
    assert _accepts(topics.PAIRINGS, pairing)
    wrong = {"patient_id": "p-9", "since": "2026-01-05T08:00:00Z"}
    assert not _accepts(topics.PAIRINGS, pairing | {"intervals": [wrong]})


def test_a_consent_with_an_unknown_purpose_is_refused() -> None:
    consent = {"patient_id": "p-9", "status": "active", "permits": [{"purpose": "vitals"}]}
    assert _accepts(topics.CONSENTS, consent)
    assert not _accepts(topics.CONSENTS, consent | {"permits": [{"purpose": "marketing"}]})


def test_every_topic_is_a_channel_with_its_key_and_clean_up() -> None:
    document = asyncapi("1", ROLES)
    by_address = {channel["address"]: channel for channel in document["channels"].values()}
    assert set(by_address) == {topic.name for topic in topics.ALL}
    readings = by_address["telemetry.readings"]["bindings"]["kafka"]["topicConfiguration"]
    assert readings == {
        "cleanup.policy": ["delete"],
        "retention.ms": 7 * topics.DAY_MS,
        "message.timestamp.type": "LogAppendTime",
    }
    keys = {
        m["name"]: m["bindings"]["kafka"]["key"]["description"] for m in document["components"]["messages"].values()
    }
    assert keys["vitals.windows"] == "tenant_id|patient_id"


def test_every_reference_in_the_asyncapi_document_leads_somewhere() -> None:
    document = asyncapi("1", ROLES)
    references = _references(document)
    assert references
    for reference in references:
        file, _, pointer = reference.partition("#")
        target: Any = document if not file else files("1", ROLES)[file.removeprefix("./")]
        for step in filter(None, pointer.split("/")):
            target = target[step]
        assert target


def test_every_role_has_its_operations() -> None:
    operations = asyncapi("1", ROLES)["operations"]
    for role in ROLES:
        for action, used in (("receive", role.receives), ("send", role.sends)):
            mine = [name for name in operations if name.startswith(f"{role.name}.{action}.")]
            assert len(mine) == len(used)


def _references(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [r for child in node.values() for r in _references(child)]
    if isinstance(node, list):
        return [r for child in node for r in _references(child)]
    return []
