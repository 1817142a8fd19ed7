"""A message that contradicts itself is never taken: doubled fields, and elements that name another device or patient."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.reading import MOST_MEASUREMENTS
from schemas.reasons import Reason
from streams.runtime.batches import Record
from streams.telemetry.kernel import reading_json
from streams.telemetry.kernel.partition import PartitionKernel
from tests.property.kernel_logs import BASE_MS, KEY, TABLE, pairings

ELEMENT = {"type": "heart_rate", "value": 61, "unit": "bpm", "time": BASE_MS}
FLAT = {"tenant_id": "north", "device_id": "d0", **ELEMENT}
NAMES = [*FLAT, "patient_id", "seq", "readings", "hl7:obx", "x"]
VALUES = st.sampled_from([61, None, "d0", "a:b", 'q"\\:', {"value": 1, "x:": [1, {"value": 2}]}, ["::"], "p0"])


def escaped(name: str, at: int) -> str:
    """The same name to every JSON parser."""
    at %= len(name)
    return f"{name[:at]}\\u{ord(name[at]):04x}{name[at + 1 :]}"


@st.composite
def objects(draw: st.DrawFn, base: dict[str, object]) -> str:
    """A reading with fields added, doubled, and names spelled with escapes."""
    pairs = list(base.items())
    for _ in range(draw(st.integers(0, 2))):
        pairs.insert(draw(st.integers(0, len(pairs))), (draw(st.sampled_from(NAMES)), draw(VALUES)))
    spelled = [escaped(k, draw(st.integers(0, 9))) if draw(st.integers(0, 5)) == 0 else k for k, _ in pairs]
    return "{" + ", ".join(f'"{k}" : {json.dumps(v)}' for k, (_, v) in zip(spelled, pairs, strict=True)) + "}"


def doubled(text: str) -> bool:
    found: list[list[str]] = []
    json.loads(text, object_pairs_hook=lambda pairs: found.append([name for name, _ in pairs]))
    return len(set(found[-1])) < len(found[-1])  # the outermost comes last


@given(objects(FLAT))
@settings(deadline=None, max_examples=400)
def test_a_field_named_twice_makes_a_reading_malformed_however_it_is_spelled(text):
    parsed = [found for _, _, found in reading_json.parse(text.encode())]
    if doubled(text):
        assert parsed == [reading_json.InvalidMeasurement(Reason.MALFORMED)]


@given(objects({"tenant_id": "north", "device_id": "d0", "readings": [ELEMENT]}), objects(ELEMENT))
@settings(deadline=None, max_examples=200)
def test_a_field_named_twice_in_a_frame_refuses_the_frame_and_in_an_element_the_element(frame, element):
    if doubled(frame):
        assert [found for _, _, found in reading_json.parse(frame.encode())] == [
            reading_json.InvalidMeasurement(Reason.MALFORMED)
        ]
    around = f'{{"tenant_id": "north", "device_id": "d0", "readings": [{json.dumps(ELEMENT)}, {element}]}}'
    parsed = [found for _, _, found in reading_json.parse(around.encode())]
    assert isinstance(parsed[0], reading_json.ParsedMeasurement)
    if doubled(element):
        assert parsed[1:] == [reading_json.InvalidMeasurement(Reason.MALFORMED, "north", "d0")]


def ingested(value: bytes):
    kernel = PartitionKernel("telemetry.readings", 0, TABLE, KEY)
    return kernel.ingest([Record(0, BASE_MS, b"d", value, ())], pairings(), 1)


@pytest.mark.parametrize(
    ("frame", "own", "reason"),
    [
        ({}, {}, None),
        ({}, {"tenant_id": "north", "device_id": "d0", "patient_id": "p0"}, None),
        ({"patient_id": "p0"}, {"patient_id": "p0"}, None),
        ({"patient_id": "p0"}, {"patient_id": None}, None),
        ({}, {"patient_id": "p1"}, Reason.PATIENT_MISMATCH),
        ({"patient_id": "p0"}, {"patient_id": "p1"}, Reason.PATIENT_MISMATCH),
        ({"patient_id": "p1"}, {"patient_id": "p0"}, Reason.PATIENT_MISMATCH),
        ({}, {"device_id": "d3"}, Reason.MALFORMED),
        ({}, {"tenant_id": "south"}, Reason.MALFORMED),
        ({}, {"device_id": None}, Reason.MALFORMED),
        ({}, {"patient_id": 7}, Reason.MALFORMED),
    ],
)
def test_an_element_that_names_another_patient_device_or_tenant_is_not_taken_as_the_frames(frame, own, reason):
    found = ingested(
        json.dumps({"tenant_id": "north", "device_id": "d0", **frame, "readings": [{**ELEMENT, **own}]}).encode()
    )
    assert [a.reason for a in found.quarantined] == ([reason] if reason else [])
    assert found.opened == (0 if reason else 1)


@pytest.mark.parametrize("name", list(ELEMENT))
def test_of_a_field_given_twice_neither_is_taken(name):
    spelled = {name: json.dumps(value) for name, value in FLAT.items()}
    for again in (name, escaped(name, 1)):
        pairs = [f'"{k}":{v}' for k, v in spelled.items()] + [f'"{again}":{spelled[name]}']
        found = ingested(("{" + ",".join(pairs) + "}").encode())
        assert [a.reason for a in found.quarantined] == [Reason.MALFORMED]


@pytest.mark.parametrize(
    "element", [b"1", b"{}", b"[" + b"1," * 700_000 + b"1]"], ids=["numbers", "empty", "one huge element"]
)
def test_a_frame_of_too_many_readings_is_refused_once(element):
    times = 1 if len(element) > 2 else MOST_MEASUREMENTS + 1
    value = b'{"tenant_id":"north","device_id":"d0","readings":[' + b",".join([element] * times) + b"]}"
    (reading,) = ingested(value).quarantined
    assert (reading.reason, reading.device_id, reading.frame_index, reading.text) == (Reason.OVERSIZED, "d0", 0, value)


def test_the_largest_accepted_frame_is_validated_reading_by_reading():
    elements = [{**ELEMENT, "time": BASE_MS - at} for at in range(MOST_MEASUREMENTS)]
    found = ingested(json.dumps({"tenant_id": "north", "device_id": "d0", "readings": elements}).encode())
    assert found.opened == MOST_MEASUREMENTS
