"""Dead letters and refusals always fit their topics: whole where they can be, else cut, and saying so."""

from __future__ import annotations

from collections.abc import Sequence

import orjson
import pytest

from schemas.errors import RecordRefused
from schemas.ports.kafka import Outgoing
from schemas.reading import QuarantineRecord
from schemas.reasons import Reason
from schemas.topics import DLQ_TELEMETRY, QUARANTINE
from streams.runtime.batches import Record
from streams.runtime.dead_letters import dead_letter
from streams.runtime.quarantine_sender import send_quarantined
from streams.telemetry.kernel.quarantined import QuarantinedReading
from streams.telemetry.quarantine import quarantine_record
from tests.doubles.ports import MemoryProducer

MIB = 1024 * 1024
ROOM_BYTES = int(DLQ_TELEMETRY.settings["max.message.bytes"])


def letter_of(key: bytes, value: bytes, headers: tuple[tuple[str, bytes], ...] = ()) -> Outgoing:
    return dead_letter(DLQ_TELEMETRY, "telemetry.readings", 3, Record(7, 0, key, value, headers), "malformed")


def size(record: Outgoing) -> int:
    return len(record.key) + len(record.value or b"") + sum(len(n.encode()) + len(v) + 10 for n, v in record.headers)


@pytest.mark.parametrize(
    ("key", "value", "headers"),
    [
        (b"k" * (MIB - 100), b"v" * MIB, (("h", b"x" * MIB),)),
        (b"k", b"v" * 2 * MIB, (("h", b"x"), ("h", b"y"))),
    ],
)
def test_a_record_that_fits_is_kept_whole(key: bytes, value: bytes, headers: tuple[tuple[str, bytes], ...]):
    letter = letter_of(key, value, headers)

    assert (letter.key, letter.value) == (key, value)
    assert letter.headers[: len(headers)] == headers
    assert not any(name.startswith("vitalwire.whole.") for name, _ in letter.headers)


@pytest.mark.parametrize(
    ("key", "value", "headers", "cut"),
    [
        (b"k" * 9 * MIB, b"v", (), {"key_bytes": 9 * MIB}),
        (b"k", b"v", (("h", b"x" * 9 * MIB),), {"headers_bytes": 9 * MIB + 11}),
        (b"k", b"v" * 9 * MIB, (), {"value_bytes": 9 * MIB}),
        (b"", b"v", (("", b""),) * 500_000, {"headers_bytes": 5_000_000}),
    ],
    ids=["key", "headers", "value", "very many headers"],
)
def test_a_text_that_is_too_long_is_truncated_and_its_length_reported(
    key: bytes, value: bytes, headers: tuple[tuple[str, bytes], ...], cut: dict[str, int]
):
    letter = letter_of(key, value, headers)

    assert size(letter) < ROOM_BYTES
    lengths = {n: int(v) for n, v in letter.headers if n.startswith("vitalwire.whole.")}
    assert lengths == {"vitalwire.whole." + part: length for part, length in cut.items()}
    assert key.startswith(letter.key)
    assert value.startswith(letter.value or b"?")
    assert dict(letter.headers)["__streams.errors.offset"] == b"7"


class SmallTopics(MemoryProducer):
    """Refuses for good what is longer than a topic of another's making takes."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__()
        self.most_bytes = most_bytes

    async def send(self, records: Sequence[Outgoing]) -> None:
        if any(size(record) > self.most_bytes for record in records):
            raise RecordRefused
        await super().send(records)


def refusal(offset: int, text: bytes) -> Outgoing:
    return quarantine_record(
        QuarantinedReading(Reason.OUT_OF_RANGE, "north", "mon-1", offset, 2, 99, text), "telemetry.readings", 3
    )


async def test_a_record_that_kafka_refuses_keeps_its_source_and_reason_and_other_records_are_sent_whole():
    producer = SmallTopics(1_000)
    long = orjson.dumps({"device_id": "mon-1", "waveform": "x" * 2_000})
    whole = [refusal(offset, b'{"value":1}') for offset in range(5)]

    await send_quarantined(producer, [*whole[:2], refusal(5, long), *whole[2:], letter_of(b"mon-1", long)])

    sent = {r.value: r for r in producer.sent if r.topic == QUARANTINE}
    assert [sent[record.value] for record in whole] == whole
    (short,) = [
        QuarantineRecord.model_validate_json(v or b"") for v in sent if v not in {record.value for record in whole}
    ]
    assert (short.reason, short.arrived, short.reading) == (Reason.OUT_OF_RANGE, 99, None)
    assert (short.source.partition, short.source.offset, short.source.index) == (3, 5, 2)
    (letter,) = producer.to(DLQ_TELEMETRY)
    assert (letter.key, letter.value) == (b"", b"")
    assert dict(letter.headers)["__streams.errors.offset"] == b"7"


async def test_what_not_even_fits_in_short_is_an_error():
    with pytest.raises(RecordRefused):
        await send_quarantined(SmallTopics(10), [refusal(5, b"{}")])
