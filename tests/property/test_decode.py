"""Any bytes give readings or refusals with a reason; `fast_json` gives exactly what `reading_json` gives."""

from __future__ import annotations

import json
import random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.config import Config
from schemas.reasons import Reason
from streams.runtime.batches import Record
from streams.telemetry.kernel import reading_json
from streams.telemetry.kernel.decode import Decoder
from streams.telemetry.kernel.partition import PartitionKernel
from streams.telemetry.kernel.rows import NO_SEQ
from streams.telemetry.kernel.vital_table import VitalTable
from tests.property.kernel_logs import BASE_MS, KEY, pairings

TABLE = VitalTable(Config())
GOOD = {"tenant_id": "north", "device_id": "d0", "type": "heart_rate", "value": 61, "unit": "bpm", "time": BASE_MS}

TIMES = st.one_of(
    st.integers(-(10**17), 10**17),
    st.datetimes().map(lambda t: t.isoformat() + "Z"),
    st.sampled_from(
        [
            "2026-01-05T10:00:00Z", "2026-01-05T10:00:00.1239999Z", "2026-01-05T10:00:00+05:30", "2026-02-29T10:00:00Z",
            "2024-02-29T23:59:59.999-23:59", "2026-01-05T10:00:60Z", "2026-01-05T24:00:00Z", "2026-01-05 10:00:00Z",
            "2026-01-05t10:00:00z", "20260105T100000Z", "2026-W01-1T10:00:00Z", "2026-01-05T10:00:00", "2026-01-05",
            "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "2026-01-05T10:00:00+24:00", "2026-01-05T10:00Z",
            "1969-12-31T23:59:59.9995Z", "2026-01-05T10:00:00.Z", "", "now",
        ]
    ),
)  # fmt: skip
ODD_NUMBERS = [
    "0", "-0", "-0.0", "00", "1.", ".5", "1e3", "1E400", "1e-400", "1e999999999999999999999", "-1e-999999999999999999999",
    "-", "+1", "1.5e-7", "0.0000005", "0.0000015", "NaN", "Infinity", "true", "null", '"72"', "72,5", "36.60", "[]", "{}",
]  # fmt: skip
NUMBERS = st.decimals(-1000, 1000, places=8).map(lambda d: f"{d:f}") | st.sampled_from(
    [*ODD_NUMBERS, "9" * 30, "0." + "1" * 40]
)
NAMES = st.one_of(
    st.sampled_from(["d0", "d1", "heart_rate", "spo2", "bpm", "/min", "mmHg", "", "\x00", "é", "a" * 300]), st.text()
)
FIELD = st.sampled_from(
    ["tenant_id", "device_id", "patient_id", "type", "unit", "value", "time", "seq", "readings", "x"]
)


@st.composite
def texts(draw: st.DrawFn) -> bytes:
    """Something like a reading: mostly right, spaced anyhow, fields left out, doubled, or odd."""
    parts = {
        "tenant_id": '"north"',
        "device_id": '"d0"',
        "type": '"heart_rate"',
        "value": "61.5",
        "unit": '"bpm"',
        "time": str(BASE_MS),
    }
    for _ in range(draw(st.integers(0, 2))):
        field = draw(FIELD)
        value = {"value": NUMBERS, "time": TIMES.map(json.dumps), "seq": NUMBERS}.get(field, NAMES.map(json.dumps))
        parts[field] = draw(value)
    items = [f'"{k}"{draw(SPACE)}:{draw(SPACE)}{v}' for k, v in parts.items()]
    if draw(st.integers(0, 9)) == 0:
        items.append(draw(st.sampled_from(items)))
    if draw(st.integers(0, 9)) == 0:
        items.pop(draw(st.integers(0, len(items) - 1)))
    text = "{" + draw(SPACE) + f"{draw(SPACE)},{draw(SPACE)}".join(items) + "}" + draw(SPACE)
    return text.encode("utf-8", "surrogatepass")


SPACE = st.sampled_from(["", "", "", " ", "\n", "\t "])


def _decoded(value: bytes | None) -> list[object]:
    """What `decode` makes of one record, spelled out."""
    decoder = Decoder(TABLE)
    rows, unreadable, _ = decoder.decode([value])
    decoded: list[object] = [u.reason for u in unreadable]
    for i in range(len(rows.device)):
        claim, seq = int(rows.claim[i]), int(rows.seq[i])
        decoded.append(
            (
                *decoder.devices.name(int(rows.device[i])),
                None if claim < 0 else decoder.claims.name(claim)[1],
                TABLE.pairs.name(int(rows.pair[i])),
                int(rows.value_micro[i]),
                int(rows.time_ms[i]),
                None if seq == NO_SEQ else seq,
            )
        )
    return decoded


def _parsed(value: bytes | None) -> list[object]:
    """What the full parser makes of it."""
    refused, rows = [], []
    for _, _, found in reading_json.parse(value):
        if isinstance(found, reading_json.InvalidMeasurement):
            refused.append(found.reason)
            continue
        pair = TABLE.pair(found.type, found.unit)
        if isinstance(pair, Reason):
            refused.append(pair)
        else:
            name = TABLE.pairs.name(pair)
            rows.append((*found[:3], name, found.value_micro, found.time_ms, found.seq))
    return [*refused, *rows]


@given(texts())
@settings(deadline=None, max_examples=600)
@example(
    b'{"device_id":"d0","type":"heart_rate","value":1.0000005,"unit":"bpm","time":"2024-02-29T23:59:59.999-23:59"}'
)
def test_the_fast_parser_gives_what_the_full_parser_gives(text):
    assert _decoded(text) == _parsed(text)


@given(st.binary(max_size=200) | texts())
@settings(deadline=None, max_examples=300)
def test_any_bytes_are_readings_or_refusals_and_their_neighbours_are_unharmed(text):
    good = json.dumps(GOOD).encode()
    kernel = PartitionKernel("telemetry.readings", 0, TABLE, KEY)
    records = [Record(i, BASE_MS, b"d", v, ()) for i, v in enumerate((good, text, good[:-1], good))]
    found = kernel.ingest(records, pairings(), 1)
    at_stake = [a for a in found.quarantined if a.offset in (0, 3)]
    assert at_stake == []
    assert [a.reason for a in found.quarantined if a.offset == 2] == [Reason.MALFORMED]
    outcomes = len([a for a in (*found.quarantined, *found.late) if a.offset == 1]) + found.opened - 2
    assert outcomes == len(list(reading_json.parse(text)))


def test_a_hundred_thousand_mutated_readings_are_each_accounted_for():
    rng = random.Random(20260105)
    good = [json.dumps(GOOD | {"value": v, "seq": s}).encode() for v in (61, 61.5, -3) for s in range(3)]
    frame = json.dumps(
        {"tenant_id": "north", "device_id": "d0", "readings": [GOOD, {**GOOD, "unit": "mmHg"}, 7]}
    ).encode()
    kernel = PartitionKernel("telemetry.readings", 0, TABLE, KEY)
    opened = refused = expected = offset = 0
    reasons = set()
    for _ in range(100):
        values = [_mutated(rng, rng.choice([*good, frame])) for _ in range(1000)]
        expected += sum(len(list(reading_json.parse(v))) for v in values)
        found = kernel.ingest([Record(offset + i, BASE_MS, b"d", v, ()) for i, v in enumerate(values)], pairings(), 1)
        offset += len(values)
        opened, refused = opened + found.opened, refused + len(found.quarantined) + len(found.late)
        reasons |= {str(a.reason) for a in found.quarantined}
    assert opened + refused == expected
    assert opened > 1000
    assert {"malformed", "unknown_type", "unknown_unit", "out_of_range", "unpaired", "unit_mismatch"} <= reasons


def _mutated(rng: random.Random, text: bytes) -> bytes:
    kind, at = rng.randrange(6), rng.randrange(len(text))
    if kind == 0:
        return rng.randbytes(rng.randrange(120))
    if kind == 1:
        return text[:at]
    if kind == 2:
        return text[:at] + rng.randbytes(1) + text[at + 1 :]
    if kind == 3:
        return text[:at] + text[at:].replace(b"1", b"7")
    if kind == 4:
        other = rng.randrange(len(text))
        return text[: min(at, other)] + text[max(at, other) :]
    return text


def test_a_frame_gives_its_readings_and_one_bad_one_is_refused_alone():
    frame = {"device_id": "d0", "tenant_id": "north", "readings": [GOOD, {"type": 3}, {**GOOD, "unit": None}, GOOD]}
    kernel = PartitionKernel("telemetry.readings", 0, TABLE, KEY)
    found = kernel.ingest([Record(0, BASE_MS, b"d", json.dumps(frame).encode(), ())], pairings(), 1)
    assert found.opened == 2
    assert {(a.frame_index, a.reason) for a in found.quarantined} == {(1, Reason.MALFORMED), (2, Reason.UNKNOWN_UNIT)}


def test_a_tombstone_and_deep_nesting_are_malformed():
    for value in (None, b"[" * 100_000, b'{"readings":' * 50_000):
        assert _decoded(value) == [Reason.MALFORMED]
