"""Readings as large as a broker takes, refused by the telemetry role: their record on `vitals.quarantine` must fit too."""

import base64
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from adapters.kafka.producer import KafkaProducer
from adapters.kafka.progress import ProgressReader
from adapters.kafka.topic_reader import KafkaTopicReader
from adapters.kafka.topics import create_or_verify
from adapters.metrics import PrometheusObserver
from schemas.config import Config
from schemas.ports.kafka import Outgoing
from schemas.reading import QuarantineRecord
from schemas.reasons import Reason
from schemas.topics import DLQ_TELEMETRY, LATE_READINGS, PROGRESS, QUARANTINE, READINGS, WINDOWS
from streams.runtime.batches import Batch, Record
from streams.telemetry.kernel.vital_table import VitalTable
from streams.telemetry.role import TelemetryPorts, TelemetryRole
from testbed.brokers import Broker
from tests.conditions import until
from tests.doubles.ports import StaticReference, retention

DEEP = (QUARANTINE.name, DLQ_TELEMETRY.name)
TOPICS = (READINGS, WINDOWS, LATE_READINGS, QUARANTINE, PROGRESS, DLQ_TELEMETRY)
LARGEST_VALUE_BYTES = 1_048_588 - 200
"""The broker's own limit of a batch, less what it needs around a value."""
DEVICE = b"mon-1"


class Telemetry:
    """The telemetry role on partition 0 of a real broker, with this test's own topics."""

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self.producer = KafkaProducer(bootstrap, prefix=prefix)
        self.reader = KafkaTopicReader(bootstrap, prefix=prefix)
        self.role = TelemetryRole(
            VitalTable(Config()),
            b"k" * 32,
            READINGS.prefixed(prefix),
            TelemetryPorts(
                self.producer,
                StaticReference(),
                ProgressReader(bootstrap, prefix).load,
                ProgressReader(bootstrap, prefix).load_quarantined,
                PrometheusObserver(),
                lambda: datetime.now(UTC),
                retention(self.producer, PrometheusObserver()),
            ),
        )

    async def quarantined(self, records: list[Record]) -> list[QuarantineRecord]:
        """Process the records as one batch, wait until they are settled, and return what was quarantined."""
        end = records[-1].offset + 1
        await self.role.assigned([0])
        await self.role.process(Batch(READINGS.name, 0, records))
        await self.role.close_due()
        await until(lambda: self.role.settled().get(0) == end)
        return [QuarantineRecord.model_validate_json(r.value or b"") for r in self.reader.read(QUARANTINE, 0)]


@pytest.fixture
def telemetry(broker: Broker, topic_prefix: str) -> Iterator[Telemetry]:
    create_or_verify(broker.bootstrap_servers, topic_prefix, 1, only=TOPICS)
    made = Telemetry(broker.bootstrap_servers, topic_prefix)
    yield made
    made.producer.close()


def reading(**changed: Any) -> dict[str, Any]:
    plain = {"device_id": DEVICE.decode(), "type": "heart_rate", "value": 72, "unit": "/min", "time": 1_767_607_200_000}
    return plain | changed


def padded(value: dict[str, Any]) -> bytes:
    """With a field that nobody knows, as large as the broker takes. What fills it cannot be compressed away."""
    room = LARGEST_VALUE_BYTES - len(orjson.dumps(value | {"waveform": ""}))
    return orjson.dumps(value | {"waveform": base64.b64encode(os.urandom(room))[:room].decode()})


async def test_the_largest_readings_the_broker_takes_arrive_in_quarantine_as_they_were_sent(telemetry: Telemetry):
    not_json, unpaired = os.urandom(LARGEST_VALUE_BYTES), padded(reading())
    frame = orjson.dumps({"device_id": "mon-1", "readings": [orjson.Fragment(padded(reading())[:-400] + b'"}')]})
    sent = [not_json, unpaired, frame]
    await telemetry.producer.send([Outgoing(READINGS, DEVICE, value, 0) for value in sent])
    stored = [Record(s.offset, 1_767_607_200_000, s.key, s.value, ()) for s in telemetry.reader.read(READINGS, 0)]

    kept = {one.source.offset: one for one in await telemetry.quarantined(stored)}

    assert [record.value for record in stored] == sent
    assert base64.b64decode(kept[0].raw or "") == not_json
    assert kept[1].reading == orjson.loads(unpaired)
    assert kept[2].reading == orjson.loads(frame)["readings"][0]
    assert [kept[n].reason for n in range(3)] == [Reason.MALFORMED, Reason.UNPAIRED, Reason.UNPAIRED]
    assert [letter.value for letter in telemetry.reader.read(DLQ_TELEMETRY)] == [not_json]


async def test_a_reading_larger_than_any_topic_accepts_is_reported_truncated_and_delays_no_other(telemetry: Telemetry):
    huge = os.urandom(6 * 1024 * 1024)
    records = [
        Record(0, 1_767_607_200_000, DEVICE, huge, ()),
        Record(1, 1_767_607_200_000, DEVICE, orjson.dumps(reading(unit="furlong")), ()),
    ]

    first, second = sorted(await telemetry.quarantined(records), key=lambda one: one.source.offset)

    assert first.whole_bytes == len(huge)
    assert huge.startswith(base64.b64decode(first.raw or ""))
    assert (first.reason, second.reason) == (Reason.MALFORMED, Reason.UNKNOWN_UNIT)
    assert list(telemetry.reader.read(DLQ_TELEMETRY)) == []


async def test_where_the_topics_take_less_than_ours_a_refusal_arrives_in_short_and_its_neighbours_whole(
    broker: Broker, topic_prefix: str
):
    """As in an installation whose topics were made by other means: one record must not end the worker at every start."""
    narrow = [replace(t, settings=t.settings | {"max.message.bytes": "100000"}) for t in (QUARANTINE, DLQ_TELEMETRY)]
    create_or_verify(
        broker.bootstrap_servers, topic_prefix, 1, only=[*(t for t in TOPICS if t.name not in DEEP), *narrow]
    )
    telemetry = Telemetry(broker.bootstrap_servers, topic_prefix)
    refused = orjson.dumps(reading(unit="furlong"))
    records = [
        Record(n, 1_767_607_200_000, DEVICE, value, ())
        for n, value in enumerate([refused, os.urandom(500_000), refused, padded(reading()), refused])
    ]

    kept = {one.source.offset: one for one in await telemetry.quarantined(records)}
    letters = list(telemetry.reader.read(DLQ_TELEMETRY))
    telemetry.producer.close()

    reasons = (Reason.UNKNOWN_UNIT, Reason.MALFORMED, Reason.UNKNOWN_UNIT, Reason.UNPAIRED, Reason.UNKNOWN_UNIT)
    assert tuple(kept[n].reason for n in range(5)) == reasons
    assert {n for n in range(5) if kept[n].reading == orjson.loads(refused)} == {0, 2, 4}
    assert (kept[1].raw, kept[3].reading) == (None, None)
    assert {letter.value for letter in letters} == {b""}
