"""Records that no client can read, produced byte by byte to Apache Kafka: quarantined with their offset, and skipped."""

import base64
from pathlib import Path

import cramjam
import pytest

from schemas.reasons import Reason
from schemas.topics import DLQ_TELEMETRY, READINGS
from testbed.brokers import Broker
from tests.conditions import wait_until
from tests.system.monitor import PARTITION, Monitor, monitor_at
from tests.system.raw_batches import ZSTD, batch, produce, record
from vitalwire.reconcile import reconciled

LONG_BYTES = 9 << 20
LONG = {
    "key": (record(0, b"x", b"k" * LONG_BYTES), Reason.OVERSIZED),
    "headers": (record(0, b"x", b"k", [(b"h", b"v" * LONG_BYTES)]), Reason.OVERSIZED),
    "headers below the limit": (record(0, b"x", b"k", [(b"h", b"v" * (5 << 20))]), Reason.MALFORMED),
}
NO_UTF8 = (b"\xff\xfe", b"x")
BOMB_BYTES = 64 << 20


def zstd(body: bytes) -> bytes:
    return bytes(cramjam.zstd.compress(body))


def send_raw(monitor: Monitor, records: bytes) -> None:
    assert produce(monitor.site.bootstrap_servers, monitor.topic, PARTITION, records) == 0


@pytest.fixture
def monitor(broker: Broker, topic_prefix: str, tmp_path: Path):
    with monitor_at(broker, topic_prefix, tmp_path) as made:
        yield made


def test_a_header_name_that_is_no_utf8_stops_neither_worker_nor_reader(monitor: Monitor):
    (worker,) = monitor.site.start("telemetry")
    monitor.send(2)
    beside = [record(0, monitor.reading()), record(1, b"{}", b"sender-7", [NO_UTF8]), record(2, monitor.reading())]
    send_raw(monitor, batch(beside))
    monitor.send(2)

    monitor.wait_until_windowed(6)
    (found,) = wait_until(monitor.quarantined, what="the record in quarantine")
    (letter,) = monitor.site.records(DLQ_TELEMETRY)

    assert (found.reason, found.source.offset, found.source.last_offset) == (Reason.UNREADABLE, 3, None)
    assert base64.b64decode(found.raw or "") == letter.value
    assert NO_UTF8[0] in (letter.value or b"")
    assert letter.key == b"sender-7"
    monitor.site.wait_until_taken("telemetry", READINGS)
    assert len(monitor.site.records(READINGS)) == 7
    assert worker.is_running()


@pytest.mark.parametrize("part", LONG)
def test_a_small_record_with_a_key_or_headers_of_mebibytes_does_not_end_the_worker(monitor: Monitor, part: str):
    """Its dead letter is cut to what the topic takes, and says how long the whole was."""
    long, reason = LONG[part]
    (worker,) = monitor.site.start("telemetry")
    send_raw(monitor, batch([long], codec=ZSTD, compress=zstd))
    monitor.send(3)

    monitor.wait_until_windowed(3)
    (found,) = wait_until(monitor.quarantined, what="the record in quarantine")
    (letter,) = monitor.site.records(DLQ_TELEMETRY)

    assert (found.reason, found.source.offset) == (reason, 0)
    assert letter.value == b"x"
    assert b"k".startswith((letter.key or b"")[:1])
    assert worker.is_running()


def test_a_frame_of_64_mib_in_a_few_kilobytes_is_never_opened(monitor: Monitor):
    (worker,) = monitor.site.start("telemetry")
    bomb = batch([record(0, b" " * BOMB_BYTES)], codec=ZSTD, compress=zstd)
    send_raw(monitor, bomb)
    monitor.send(3)

    monitor.wait_until_windowed(3)
    (found,) = wait_until(monitor.quarantined, what="the bomb in quarantine")

    assert (found.reason, found.source.offset) == (Reason.OVERSIZED, 0)
    assert 0 < len(base64.b64decode(found.raw or "")) < 10_000
    assert worker.metric("readings_total{") == 4


def test_a_bomb_stops_neither_the_next_start_nor_the_report(monitor: Monitor):
    """Other clients open it without a limit of their own, and never come past it or need as much memory as it says."""
    (worker,) = monitor.site.start("telemetry")
    monitor.send(2)
    monitor.wait_until_windowed(2)
    monitor.site.wait_until_taken("telemetry", READINGS)
    worker.stop()
    records = [record(0, b"{}"), record(1, b" " * (150 << 20)), record(2, b"{}")]
    send_raw(monitor, batch(records, codec=ZSTD, compress=zstd))
    monitor.send(3)

    unread = reconciled(monitor.site.settings, monitor.site.ledger)
    monitor.site.start("telemetry")
    wait_until(lambda: len(monitor.late()) == 3, 60, what="the readings after the bomb, whose window is out")
    monitor.site.wait_until_taken("telemetry", READINGS)
    report = reconciled(monitor.site.settings, monitor.site.ledger)

    assert (unread.readings, unread.unread) == (2, 4)
    assert (report.readings, report.in_windows, report.quarantined_readings, report.late) == (6, 2, 1, 3)
    assert report.unread == 0


def test_a_record_of_a_million_tiny_headers_is_refused_unparsed(monitor: Monitor):
    (worker,) = monitor.site.start("telemetry")
    many = record(1, b"{}", b"k", [(b"", None)] * 1_000_000)
    send_raw(
        monitor, batch([record(0, monitor.reading()), many, record(2, monitor.reading())], codec=ZSTD, compress=zstd)
    )
    monitor.send(1)

    monitor.wait_until_windowed(3)
    (found,) = wait_until(monitor.quarantined, what="the record in quarantine")
    (letter,) = monitor.site.records(DLQ_TELEMETRY)

    assert (found.reason, found.source.offset, found.source.last_offset) == (Reason.OVERSIZED, 1, None)
    assert (letter.key, len(letter.value or b"")) == (b"k", found.whole_bytes)
    assert worker.is_running()
