"""A quarantined reading on its topic: as it was sent, as bytes, or, if it is huge, the first of its bytes."""

import base64

import orjson
import pytest

from schemas.reading import QuarantineRecord
from schemas.reasons import LATE, Reason
from schemas.topics import LATE_READINGS, QUARANTINE
from streams.telemetry.kernel.quarantined import QuarantinedReading
from streams.telemetry.quarantine import MAX_COPIED_BYTES, TRUNCATED_BYTES, quarantine_record

TOPIC_LIMIT = int(QUARANTINE.settings["max.message.bytes"])


def quarantined(text: bytes, reason: Reason | str = Reason.MALFORMED) -> QuarantinedReading:
    return QuarantinedReading(
        reason, "north", "mon-1", offset=7, frame_index=0, arrived_ms=1_767_607_200_000, text=text
    )


def read_back(text: bytes) -> QuarantineRecord:
    return QuarantineRecord.model_validate_json(
        quarantine_record(quarantined(text), "telemetry.readings", 3).value or b""
    )


def test_a_reading_that_is_json_is_kept_as_it_was_sent():
    kept = quarantine_record(quarantined(b'{"value": 1.50, "value": 2}'), "telemetry.readings", 3)

    assert b'"reading":{"value": 1.50, "value": 2}' in (kept.value or b"")


def test_bytes_that_are_not_json_are_kept_whole_as_base64():
    kept = read_back(b"\xff\x00 cut off {")

    assert kept.reading is None
    assert base64.b64decode(kept.raw or "") == b"\xff\x00 cut off {"
    assert kept.whole_bytes is None


@pytest.mark.parametrize("filler", [b"\xff", b"a"], ids=["bytes", "json"])
def test_the_longest_reading_that_is_copied_whole_fits_the_topic(filler: bytes):
    text = b'"' + filler * (MAX_COPIED_BYTES - 2) + b'"'

    record = quarantine_record(quarantined(text), "telemetry.readings", 3)

    kept = QuarantineRecord.model_validate_json(record.value or b"")
    assert kept.whole_bytes is None
    assert kept.reading == text.decode().strip('"') if filler == b"a" else base64.b64decode(kept.raw or "") == text
    assert len(record.value or b"") < TOPIC_LIMIT


def test_of_a_longer_reading_the_beginning_is_kept_with_where_the_whole_is():
    text = b'"' + b"a" * MAX_COPIED_BYTES + b'"'

    kept = read_back(text)

    assert base64.b64decode(kept.raw or "") == text[:TRUNCATED_BYTES]
    assert (kept.reading, kept.whole_bytes) == (None, len(text))
    assert (kept.source.topic, kept.source.partition, kept.source.offset) == ("telemetry.readings", 3, 7)


@pytest.mark.parametrize(("reason", "topic"), [(LATE, LATE_READINGS), (Reason.UNPAIRED, QUARANTINE)])
def test_late_readings_and_quarantined_ones_go_to_topics_of_their_own(reason: Reason | str, topic: object):
    record = quarantine_record(quarantined(b"{}", reason), "telemetry.readings", 3)

    assert record.topic is topic
    assert record.partition == 3
    assert orjson.loads(record.value or b"")["reason"] == reason


def test_of_an_oversized_frame_only_the_beginning_is_kept():
    frame = b'{"readings":[' + b"1," * 50_000 + b"1]}"
    kept = QuarantineRecord.model_validate_json(
        quarantine_record(quarantined(frame, Reason.OVERSIZED), "telemetry.readings", 3).value or b""
    )
    assert base64.b64decode(kept.raw or "") == frame[:TRUNCATED_BYTES]
    assert (kept.reading, kept.whole_bytes) == (None, len(frame))
