"""The report stays true whatever lies on the topics and whatever retention took: on real Kafka, with real workers."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.brokers import Broker
from schemas.reading import SetAside
from schemas.topics import QUARANTINE
from tests.system.bedside import SECTION, Bedside, reading
from tests.system.installation import Installation

HOSTILE = {
    "infinite": b"1e400",
    "huge integer": b"9" * 400,
    "longer than an interpreter converts": b"9" * 5000,
    "deep": b"[" * 900 + b"]" * 900,
    "deeper than one parser goes": b"[" * 250 + b"]" * 250,
    "lone surrogate": b'"\\ud800"',
    "not a number": b"NaN",
    "duplicate keys": b'{"device_id":"d","device_id":"e"}',
    "not UTF-8": b'"\xff"',
    "null byte": b'"\\u0000"',
    "nothing": b"",
}


@pytest.fixture
def bedside(broker: Broker, topic_prefix: str, tmp_path: Path) -> Iterator[Bedside]:
    site = tmp_path / "site"
    with Installation(broker.bootstrap_servers, topic_prefix, site, SECTION, idle_s=1) as installed:
        yield Bedside(installed)


def test_hostile_values_in_quarantine_can_be_read_back_and_the_report_goes_on(bedside: Bedside) -> None:
    in_readings = [reading("d", 1).replace(b'"value":72', b'"value":' + (value or b'""')) for value in HOSTILE.values()]
    in_frames = [b'{"device_id":"d","readings":[%s]}' % (value or b"3") for value in HOSTILE.values()]
    sent = [*HOSTILE.values(), *in_readings, *in_frames]
    bedside.send(*sent)
    bedside.installation.start("telemetry")

    report = bedside.report_when_quiet()

    kept = [SetAside.model_validate_json(record.value or b"") for record in bedside.installation.records(QUARANTINE)]
    assert {one.source.offset for one in kept} == set(range(len(sent)))
    as_bytes = {one.source.offset: base64.b64decode(one.raw) for one in kept if one.raw is not None}
    assert all(as_bytes.get(offset, value) == value for offset, value in enumerate(sent[: 2 * len(HOSTILE)]))
    assert (report.readings, report.quarantined_readings, report.unreadable) == (len(sent), len(sent), 0)
    assert report.balanced
    assert bedside.installation.reconcile()["balanced"]
