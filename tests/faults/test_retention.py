"""Readings that retention removed before they were read: counted once, told to auditors and to the people on call."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.audit import AuditEvent
from schemas.progress import PartitionProgress
from schemas.topics import AUDIT, PROGRESS, READINGS, WINDOWS, TopicSpec
from testbed.brokers import Broker
from tests.conditions import wait_until
from tests.doubles.windows import window
from tests.system.bedside import SECTION, Bedside, reading
from tests.system.installation import Installation, Worker
from tests.system.recording import TENANT
from vitalwire.reconcile import reconciled


@pytest.fixture
def bedside(broker: Broker, topic_prefix: str, tmp_path: Path) -> Iterator[Bedside]:
    site = tmp_path / "site"
    with Installation(broker.bootstrap_servers, topic_prefix, site, SECTION, idle_s=1) as installed:
        made = Bedside(installed)
        made.pair("d", "p")
        yield made


def removed_before(bedside: Bedside, offset: int, of: TopicSpec = READINGS) -> None:
    """What retention does to partition 0, at once."""
    topic = of.prefixed(bedside.installation.prefix)
    admin = AdminClient({"bootstrap.servers": bedside.installation.bootstrap_servers})
    (done,) = admin.delete_records([TopicPartition(topic, 0, offset)]).values()
    done.result()


def progress(bedside: Bedside) -> PartitionProgress | None:
    """What was written last of partition 0."""
    told = [r for r in bedside.installation.records(PROGRESS) if r.key == b"#partition" and r.partition == 0]
    return PartitionProgress.model_validate_json(told[-1].value or b"") if told else None


def wait_until_settled_at(bedside: Bedside, offset: int) -> None:
    wait_until(lambda: bedside.installation.committed("telemetry", READINGS)[0] == offset, 60, what=f"place {offset}")


def removed_steps(bedside: Bedside) -> list[tuple[str, str | None, str]]:
    events = [AuditEvent.model_validate_json(r.value or b"") for r in bedside.installation.records(AUDIT)]
    return [(e.tenant_id, e.source, e.outcome) for e in events if e.action == "readings.removed_unread"]


def restarted(bedside: Bedside, worker: Worker | None = None) -> Worker:
    if worker is not None:
        worker.kill()
    [started] = bedside.installation.start("telemetry")
    return started


def test_readings_that_retention_removed_unread_are_counted_once_over_restarts_alarmed_and_audited(
    bedside: Bedside,
) -> None:
    topic = READINGS.prefixed(bedside.installation.prefix)
    worker = restarted(bedside)
    bedside.send(*(reading("d", second) for second in range(3)))
    wait_until_settled_at(bedside, 3)
    worker.stop()

    bedside.send(*(reading("d", second) for second in range(20, 28)))
    removed_before(bedside, 8)
    worker = restarted(bedside)
    wait_until_settled_at(bedside, 11)
    assert worker.metric("readings_removed_unread_total") == 5

    worker = restarted(bedside, worker)
    bedside.send(reading("d", 60))
    wait_until_settled_at(bedside, 12)
    last = progress(bedside)
    assert last is not None
    assert (last.position, last.settled, last.removed_unread) == (12, 12, 5)
    assert worker.metric("readings_removed_unread_total") == 0
    assert removed_steps(bedside) == [(TENANT, f"{topic}/0/3-7", "failure")]


def test_where_every_unread_record_is_gone_it_is_counted_and_the_position_moves_on(bedside: Bedside) -> None:
    bedside.send(*(reading("d", second) for second in range(6)))
    removed_before(bedside, 6)

    worker = restarted(bedside)

    wait_until_settled_at(bedside, 6)
    last = progress(bedside)
    assert last is not None
    assert (last.position, last.removed_unread, last.open_readings) == (6, 6, 0)
    restarted(bedside, worker)
    bedside.send(reading("d", 60))
    wait_until_settled_at(bedside, 7)
    again = progress(bedside)
    assert again is not None
    assert again.removed_unread == 6


def test_retention_of_readings_that_were_settled_is_no_loss(bedside: Bedside) -> None:
    worker = restarted(bedside)
    bedside.send(*(reading("d", second) for second in range(5)))
    wait_until_settled_at(bedside, 5)
    removed_before(bedside, 4)

    worker = restarted(bedside, worker)
    bedside.send(reading("d", 60))
    wait_until_settled_at(bedside, 6)

    last = progress(bedside)
    assert last is not None
    assert last.removed_unread == 0
    assert removed_steps(bedside) == []


def test_a_running_worker_that_retention_overtakes_counts_what_it_did_not_read_though_nothing_follows(
    bedside: Bedside,
) -> None:
    worker = restarted(bedside)
    bedside.send(*(reading("d", second) for second in range(3)))
    wait_until_settled_at(bedside, 3)

    worker.freeze()
    bedside.send(*(reading("d", second) for second in range(20, 28)))  # the first of them may answer a fetch under way
    removed_before(bedside, 11)
    worker.thaw()

    wait_until_settled_at(bedside, 11)
    last = progress(bedside)
    assert last is not None
    assert last.removed_unread in (7, 8)
    assert worker.metric("readings_removed_unread_total") == last.removed_unread
    assert worker.metric("readings_total") + last.removed_unread == 11


def test_windows_that_retention_removed_before_the_clinical_role_read_them_are_counted_once_alarmed_and_reported(
    bedside: Bedside,
) -> None:
    installed = bedside.installation
    [worker] = installed.start("clinical")
    send_windows(bedside, 2)
    wait_until(lambda: installed.committed("clinical", WINDOWS)[0] == 2, 60, what="the first windows")
    worker.stop()

    send_windows(bedside, 6)
    removed_before(bedside, 6, WINDOWS)
    for counted in (4, 0):
        [worker] = installed.start("clinical")
        wait_until(lambda: installed.committed("clinical", WINDOWS)[0] == 8, 60, what="the windows that are kept")
        assert worker.metric("windows_removed_unread_total") == counted
        worker.stop()

    events = [AuditEvent.model_validate_json(r.value or b"") for r in installed.records(AUDIT)]
    topic = WINDOWS.prefixed(installed.prefix)
    assert [e.source for e in events if e.action == "windows.removed_unread"] == [f"{topic}/0/2-5"]
    report = reconciled(installed.settings, installed.ledger)
    assert (report.windows_removed_unread, report.balanced) == (4, False)


def send_windows(bedside: Bedside, count: int) -> None:
    """Results that nobody publishes, in partition 0."""
    producer = Producer({"bootstrap.servers": bedside.installation.bootstrap_servers})
    value = window(publish=False, cause=None).model_dump_json()
    for _ in range(count):
        producer.produce(WINDOWS.prefixed(bedside.installation.prefix), value, partition=0)
    producer.flush()
