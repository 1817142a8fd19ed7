"""The report stays true whatever lies on the topics and whatever retention took: on real Kafka, with real workers."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from schemas.reading import QuarantineRecord
from schemas.topics import QUARANTINE, READINGS, WINDOWS
from schemas.window import Window
from testbed.brokers import Broker
from tests.system.bedside import SECTION, Bedside, frame, reading
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


@contextmanager
def slow_to_close(bedside: Bedside) -> Iterator[None]:
    """Windows stay open while this lasts; the worker must have ended before it does."""
    config = Path(bedside.installation.environment["VITALWIRE_CONFIG"])
    quick = config.read_text()
    config.write_text(quick.replace("idle: 1s", "idle: 3600s"))
    yield
    config.write_text(quick)


def test_hostile_values_in_quarantine_can_be_read_back_and_the_report_goes_on(bedside: Bedside) -> None:
    in_readings = [reading("d", 1).replace(b'"value":72', b'"value":' + (value or b'""')) for value in HOSTILE.values()]
    in_frames = [b'{"device_id":"d","readings":[%s]}' % (value or b"3") for value in HOSTILE.values()]
    sent = [*HOSTILE.values(), *in_readings, *in_frames]
    bedside.send(*sent)
    bedside.installation.start("telemetry")

    report = bedside.report_when_quiet()

    kept = [
        QuarantineRecord.model_validate_json(record.value or b"") for record in bedside.installation.records(QUARANTINE)
    ]
    assert {one.source.offset for one in kept} == set(range(len(sent)))
    as_bytes = {one.source.offset: base64.b64decode(one.raw) for one in kept if one.raw is not None}
    assert all(as_bytes.get(offset, value) == value for offset, value in enumerate(sent[: 2 * len(HOSTILE)]))
    assert (report.readings, report.quarantined_readings, report.unreadable) == (len(sent), len(sent), 0)
    assert report.balanced
    assert bedside.installation.reconcile()["balanced"]


def test_readings_quarantined_in_an_open_window_are_counted_once_when_their_pairing_came_before_the_replay(
    bedside: Bedside,
) -> None:
    for patient in ("p-0", "p-1"):
        bedside.admit(patient)
    bedside.pair("d-0", "p-0")
    with slow_to_close(bedside):
        [worker] = bedside.installation.start("telemetry")
        bedside.send(reading("d-0", 1), *(reading("d-1", second) for second in (1, 2, 3)), frame("d-1", [4, 5]))
        bedside.report_when_quiet(in_open_windows=1, quarantined_readings=5)
        worker.kill()
    bedside.pair("d-1", "p-1")
    bedside.installation.start("telemetry", "clinical")

    report = bedside.report_when_quiet(in_windows=6)

    windows = [Window.model_validate_json(record.value or b"") for record in bedside.installation.records(WINDOWS)]
    named = {(place.offset, place.index) for window in windows for place in window.supersedes}
    assert named == {(1, 0), (2, 0), (3, 0), (4, 0), (4, 1)}
    assert (report.readings, report.quarantined_readings, report.superseded) == (6, 0, 5)
    assert len(bedside.installation.records(QUARANTINE)) == 5
    assert report.balanced


def test_a_reading_in_an_open_window_is_reported_when_its_pairing_is_removed_before_the_replay(
    bedside: Bedside,
) -> None:
    bedside.pair("d-0", "p-0")
    bedside.pair("d-1", "p-1")
    with slow_to_close(bedside):
        [worker] = bedside.installation.start("telemetry")
        bedside.send(reading("d-0", 1), reading("d-1", 1), reading("d-2", 1))
        bedside.report_when_quiet(in_open_windows=2, quarantined_readings=1)
        worker.kill()
    bedside.pair("d-1", None)
    bedside.installation.start("telemetry", "clinical")

    report = bedside.report_when_quiet(in_windows=1)

    assert (report.quarantined_readings, len(bedside.installation.records(QUARANTINE))) == (2, 3)
    assert report.balanced


def test_what_retention_takes_of_judged_readings_leaves_the_report_balanced_and_exact(bedside: Bedside) -> None:
    bedside.admit("p-0")
    bedside.pair("d-0", "p-0")
    bedside.send(*(reading("d-0", second) for second in range(20)), reading("d-1", 1), reading("d-0", 19))
    bedside.installation.start("telemetry", "clinical")
    whole = bedside.report_when_quiet(in_windows=20, duplicates=1)
    assert (whole.readings, whole.quarantined_readings, whole.removed, whole.since) == (22, 1, 0, None)

    bedside.retain(READINGS, 6)
    straddling = bedside.report()
    assert (straddling.readings, straddling.in_windows + straddling.duplicates) == (16, 15)
    assert (straddling.removed, straddling.removed_unread, straddling.balanced) == (6, 0, True)
    assert straddling.since is not None

    bedside.retain(READINGS, 22)
    emptied = bedside.report()
    assert (emptied.readings, emptied.in_windows, emptied.quarantined_readings, emptied.removed) == (0, 0, 0, 22)
    assert emptied.balanced
    assert bedside.installation.reconcile()["balanced"]


def test_readings_that_retention_takes_before_a_worker_reads_them_never_balance(bedside: Bedside) -> None:
    bedside.admit("p-0")
    bedside.pair("d-0", "p-0")
    bedside.send(*(reading("d-0", second) for second in range(3)))
    worker, *_ = bedside.installation.start("telemetry", "clinical")
    assert bedside.report_when_quiet(in_windows=3).balanced
    worker.stop()
    bedside.send(*(reading("d-0", 20 + second) for second in range(5)))
    bedside.retain(READINGS, 7)

    unnoticed = bedside.report()
    assert (unnoticed.removed_unread, unnoticed.unread, unnoticed.balanced) == (4, 1, False)
    assert "4 records were removed by retention before they were processed" in unnoticed.explanations[0]
    assert bedside.reconcile_exit_code() == 1

    bedside.installation.start("telemetry")
    noticed = bedside.report_when_quiet(in_windows=1)
    assert (noticed.readings, noticed.removed_unread, noticed.balanced) == (1, 4, False)


def test_two_partitions_read_again_after_pairings_came_and_went_balance_before_and_after_retention(
    bedside: Bedside,
) -> None:
    for number in range(4):
        bedside.admit(f"p-{number}")
    for number in (0, 2, 3):
        bedside.pair(f"d-{number}", f"p-{number}")
    with slow_to_close(bedside):
        workers = bedside.installation.start("telemetry", "telemetry")
        bedside.send(*(reading(f"d-{n % 2}", n) for n in range(8)), frame("d-1", [1.5, 2.5]), partition=0)
        bedside.send(*(reading(f"d-{2 + n % 2}", n) for n in range(8)), b"1e400", partition=1)
        bedside.report_when_quiet(in_open_windows=12, quarantined_readings=7)
        for worker in workers:
            worker.kill()
    bedside.pair("d-1", "p-1")
    bedside.pair("d-3", None)
    bedside.installation.start("telemetry", "telemetry", "clinical")

    report = bedside.report_when_quiet(in_windows=14)
    assert (report.readings, report.superseded, report.quarantined) == (19, 6, {"malformed": 1, "unpaired": 4})
    assert report.balanced

    bedside.retain(READINGS, 3, partition=0)
    bedside.retain(READINGS, 6, partition=1)
    cut = bedside.report()
    assert (cut.readings, cut.in_windows, cut.quarantined) == (10, 8, {"malformed": 1, "unpaired": 1})
    assert (cut.removed, cut.removed_unread, cut.balanced) == (9, 0, True)
