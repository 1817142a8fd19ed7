"""Whatever bytes a device sends: its quarantine record can be read by every consumer of the topic."""

from __future__ import annotations

import base64
import json

import jsonschema
import orjson
from hypothesis import example, given
from hypothesis import strategies as st

from schemas import quarantine_header
from schemas.publish import json_schema
from schemas.reading import QuarantineRecord
from schemas.reasons import LATE, Reason
from schemas.topics import LATE_READINGS, QUARANTINE
from streams.telemetry.kernel.quarantined import QuarantinedReading
from streams.telemetry.quarantine import quarantine_record

PUBLISHED = {topic: jsonschema.Draft202012Validator(json_schema(topic)) for topic in (QUARANTINE, LATE_READINGS)}

numbers = st.one_of(
    st.from_regex(rb"\A-?(0|[1-9][0-9]{0,400})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,5})?\Z"),
    st.sampled_from([b"1e400", b"-1e999", b"9" * 400, b"9" * 5000, b"NaN", b"-Infinity", b"1" + b"0" * 20]),
)
strings = st.one_of(
    st.text().map(lambda text: json.dumps(text).encode()),
    st.sampled_from([b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\u0000"', b'"\xff"', b'"\xed\xa0\x80"', b'"\x00"']),
)
values = st.recursive(
    st.one_of(numbers, strings, st.sampled_from([b"null", b"true", b"", b" "])),
    lambda inner: st.one_of(
        st.lists(inner).map(lambda members: b"[" + b",".join(members) + b"]"),
        st.lists(st.tuples(strings, inner)).map(
            lambda pairs: b"{" + b",".join(key + b": " + value for key, value in pairs) + b"}"
        ),
    ),
)
nested = st.integers(1, 3000).map(lambda depth: b"[" * depth + b"]" * depth)
texts = st.one_of(st.binary(), values, nested, values.map(lambda text: b'{"reading":' + text + b"}"))


@given(text=texts, reason=st.sampled_from([*Reason, LATE]))
@example(text=b'{"value":1e400}', reason=Reason.MALFORMED)
@example(text=b"9" * 400, reason=Reason.MALFORMED)
@example(text=b"[" * 250 + b"]" * 250, reason=Reason.MALFORMED)
@example(text=b"[" * 900 + b"]" * 900, reason=Reason.MALFORMED)
@example(text=b'{"value": 1, "value": 2}', reason=Reason.CONFLICTING_DUPLICATE)
def test_any_quarantined_bytes_can_be_read_by_every_consumer(text: bytes, reason: Reason | str) -> None:
    reading = QuarantinedReading(
        reason, "north", 'mon-1",reading":', offset=7, frame_index=2, arrived_ms=1_767_607_200_000, text=text
    )

    record = quarantine_record(reading, "telemetry.readings", 3)
    value = record.value or b""

    header = quarantine_header.parse(value)
    assert header is not None
    assert (header.kind, header.reason, header.source) == (
        "reading",
        reason,
        quarantine_header.QuarantineSource(3, 7, 2),
    )
    kept = QuarantineRecord.model_validate_json(value)
    assert PUBLISHED[record.topic].is_valid(orjson.loads(value))
    assert json.loads(value)["reason"] == reason
    assert (kept.raw is None) != (kept.reading is None) or text.strip() == b"null"
    assert text in (value if kept.raw is None else base64.b64decode(kept.raw))


@given(value=st.one_of(st.none(), texts))
def test_bytes_that_no_version_of_ours_wrote_are_reported_as_unreadable_and_raise_nothing(value: bytes | None) -> None:
    assert quarantine_header.parse(value) is None


@given(text=texts)
def test_a_quarantined_window_that_cannot_be_identified_raises_nothing(text: bytes) -> None:
    assert (
        quarantine_header.window_id(
            quarantine_header.QuarantineHeader("no_consent", quarantine_header.QuarantineSource(0, 0), reading=text)
        )
        is None
    )
