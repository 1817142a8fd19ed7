"""What retention takes of judged readings leaves the report balanced and exact; what it takes unread is a loss."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from adapters.ledger import SqlLedger
from schemas.ports.kafka import Position
from schemas.ports.ledger import OutboxEntries
from schemas.topics import LATE_READINGS, QUARANTINE, READINGS, WINDOWS
from schemas.window import Window, WindowSource
from tests.doubles.windows import START, window
from tests.unit.test_reconcile import APPENDED_MS, Log, ledger, log, reconcile

__all__ = ["ledger", "log"]


def reading(second: int, **more: object) -> bytes:
    time_ms = int(START.timestamp() * 1000) + second * 1000
    named = {"tenant_id": "north", "device_id": "mon-17", "type": "heart_rate", "value": 72, "unit": "/min"}
    return json.dumps(named | {"time": time_ms} | more).encode()


def closed(first: int, last: int, count: int, minute: int = 0, **more: object) -> Window:
    source = WindowSource(topic="telemetry.readings", partition=0, first_offset=first, last_offset=last)
    return window(minute=minute, count=count, publish=False, source=source, **more)


def hour(log: Log) -> None:
    """Ten readings: 0 to 3 in one window, 4 quarantined, 5 late, 6 to 8 in the next window, 8 a repeat, 9 in an open one."""
    for offset in range(10):
        minute = 0 if offset < 4 else 1
        log.add(READINGS, reading(minute * 60 + min(offset, 7)))
    log.window(closed(0, 3, 4))
    log.window(closed(6, 8, 2, minute=1, duplicates=1))
    log.quarantined_or_late(QUARANTINE, "unpaired", 4)
    log.quarantined_or_late(LATE_READINGS, "late", 5)
    log.progress(10, open_readings=1, settled=9)


@pytest.mark.parametrize("first", range(10))
def test_whatever_retention_takes_of_judged_readings_the_report_balances_and_counts_what_is_kept(
    log: Log, ledger: SqlLedger, first: int
):
    hour(log)
    log.retain(READINGS, first)
    report = reconcile(log, ledger)
    assert report.balanced, report
    assert (report.readings, report.removed, report.removed_unread) == (10 - first, first, 0)
    assert report.quarantined_readings == int(first <= 4)
    assert report.late == int(first <= 5)
    assert report.in_windows + report.duplicates == len([o for o in (0, 1, 2, 3, 6, 7, 8) if o >= first])
    begins = datetime.fromtimestamp(APPENDED_MS / 1000 + first, UTC)
    assert report.since == (begins if first else None)
    assert len(report.explanations) == int(first > 0)
    assert all("after they were processed: readings count from" in told for told in report.explanations)


def test_a_topic_that_retention_emptied_after_all_was_judged_balances(log: Log, ledger: SqlLedger):
    hour(log)
    log.progress(10, settled=10)
    log.window(closed(9, 9, 1, minute=2))
    log.retain(READINGS, 10)
    report = reconcile(log, ledger)
    assert (report.readings, report.in_windows, report.removed, report.removed_unread) == (0, 0, 10, 0)
    assert report.balanced


def test_readings_removed_before_anybody_noticed_never_balance(log: Log, ledger: SqlLedger):
    for _ in range(10):
        log.add(READINGS, reading(0))
    log.window(closed(0, 2, 3))
    log.progress(3, settled=3)
    log.retain(READINGS, 7)
    report = reconcile(log, ledger)
    assert (report.readings, report.unread, report.removed_unread) == (0, 3, 4)
    assert not report.balanced
    assert report.explanations[0].startswith("4 records were removed by retention before they were processed")


def test_readings_removed_unread_never_balance_after_workers_went_on(log: Log, ledger: SqlLedger):
    for _ in range(10):
        log.add(READINGS, reading(0))
    log.window(closed(7, 9, 3))
    log.retain(READINGS, 7)
    log.progress(10, settled=10, removed_unread=4)
    report = reconcile(log, ledger)
    assert (report.readings, report.in_windows, report.unread, report.removed_unread) == (3, 3, 0, 4)
    assert not report.balanced


def test_records_removed_unread_are_not_reported_as_processed_and_the_advice_promises_nothing(
    log: Log, ledger: SqlLedger
):
    for _ in range(10):
        log.add(READINGS, reading(0))
    log.window(closed(0, 2, 3))
    log.progress(3, settled=3)
    log.retain(READINGS, 7)
    lost, _, judged = reconcile(log, ledger).explanations
    assert lost.startswith("4 records")
    assert "partition 0: 4 before offset 7" in lost
    assert "cannot balance again" in lost
    assert "late" in lost
    assert judged.startswith("retention removed 3 records after they were processed")


def test_where_every_removed_record_was_lost_no_processed_record_is_reported(log: Log, ledger: SqlLedger):
    for _ in range(3):
        log.add(READINGS, reading(0))
    log.retain(READINGS, 3)
    (told,) = reconcile(log, ledger).explanations
    assert told.startswith("3 records were removed by retention before they were processed")


def test_what_workers_have_counted_of_a_gap_is_not_counted_again(log: Log, ledger: SqlLedger):
    for _ in range(10):
        log.add(READINGS, reading(0))
    log.retain(READINGS, 7)
    log.progress(7, open_readings=1, settled=2, removed_unread=4, counted_gaps=((3, 7),))
    assert reconcile(log, ledger).removed_unread == 5


def test_readings_of_a_topic_nobody_has_read_are_lost_when_retention_takes_them(log: Log, ledger: SqlLedger):
    for _ in range(3):
        log.add(READINGS, reading(0))
    log.retain(READINGS, 3)
    report = reconcile(log, ledger)
    assert (report.removed_unread, report.balanced) == (3, False)


def test_readings_removed_while_their_window_is_open_do_not_balance(log: Log, ledger: SqlLedger):
    for _ in range(4):
        log.add(READINGS, reading(0))
    log.progress(4, open_readings=4, settled=0)
    log.retain(READINGS, 3)
    report = reconcile(log, ledger)
    assert (report.removed_unread, report.balanced) == (3, False)


def test_the_windows_of_two_patients_in_one_span_are_counted_together_where_retention_cuts_it(
    log: Log, ledger: SqlLedger
):
    for offset in range(6):
        log.add(READINGS, reading(offset))
    log.window(closed(0, 3, 3, patient="p-1"))
    log.window(closed(2, 5, 3, patient="p-2"))
    log.progress(6, settled=6)
    for first in range(6):
        log.retain(READINGS, first)
        report = reconcile(log, ledger)
        assert (report.readings, report.in_windows, report.balanced) == (6 - first, 6 - first, True)


def test_a_reading_lost_next_to_the_cut_is_still_reported(log: Log, ledger: SqlLedger):
    for offset in range(6):
        log.add(READINGS, reading(offset))
    log.window(closed(0, 3, 4))
    log.progress(6, settled=6)
    log.retain(READINGS, 2)
    report = reconcile(log, ledger)
    assert (report.readings, report.in_windows, report.balanced) == (4, 2, False)
    assert any(told.startswith("2 readings are missing") for told in report.explanations)


def test_readings_older_than_the_windows_that_are_kept_are_left_out(log: Log, ledger: SqlLedger):
    """Here each window is appended when the reading of the same number is: windows are kept for less time than readings."""
    for offset in range(6):
        log.add(READINGS, reading(60 * offset))
        log.window(closed(offset, offset, 1, minute=offset))
    log.progress(6, settled=6)
    ledger.record([], Position(WINDOWS.name, 0, 6))
    log.retain(WINDOWS, 3)
    report = reconcile(log, ledger)
    assert (report.readings, report.in_windows, report.windows, report.balanced) == (2, 2, 3, True)
    assert report.since == datetime.fromtimestamp(APPENDED_MS / 1000 + 4, UTC)


def test_readings_older_than_what_is_kept_of_the_quarantine_are_left_out(log: Log, ledger: SqlLedger):
    for offset in range(6):
        log.add(READINGS, reading(offset))
        log.quarantined_or_late(QUARANTINE, "unpaired", offset)
    log.progress(6, settled=6)
    log.retain(QUARANTINE, 3)
    report = reconcile(log, ledger)
    assert (report.readings, report.quarantined_readings, report.balanced) == (2, 2, True)


def test_a_frame_or_a_batch_quarantined_as_one_counts_as_one(log: Log, ledger: SqlLedger):
    frame = {"device_id": "m", "readings": [json.loads(reading(n)) for n in range(20)]}
    log.add(READINGS, json.dumps(frame).encode())
    for offset in range(1, 5):
        log.add(READINGS, reading(offset))
    log.quarantined_or_late(QUARANTINE, "oversized", 0)
    batch = {"topic": "telemetry.readings", "partition": 0, "offset": 1, "index": 0, "last_offset": 3}
    log.quarantined_or_late(QUARANTINE, "unreadable", 1, source=batch)
    log.window(closed(4, 4, 1))
    log.progress(5, settled=5)
    report = reconcile(log, ledger)
    assert (report.readings, report.quarantined_readings, report.in_windows) == (3, 2, 1)
    assert report.balanced


@pytest.mark.parametrize(("position", "lost"), [(None, 2), (1, 1), (2, 0), (3, 0)])
def test_windows_removed_before_the_clinical_role_took_them_are_a_loss(
    log: Log, ledger: SqlLedger, position: int | None, lost: int
):
    for minute in range(3):
        log.add(READINGS, reading(60 * minute))
        log.window(closed(minute, minute, 1, minute=minute))
    log.progress(3, settled=3)
    if position is not None:
        ledger.record([], Position(WINDOWS.name, 0, position))
    log.retain(WINDOWS, 2)
    report = reconcile(log, ledger)
    assert (report.windows_removed_unread, report.balanced) == (lost, not lost)
    assert any("removed by retention from vitals.windows" in told for told in report.explanations) is bool(lost)


def test_windows_that_a_worker_has_counted_as_removed_stay_lost_and_count_once(log: Log, ledger: SqlLedger):
    for minute in range(3):
        log.window(closed(minute, minute, 1, minute=minute))
    log.retain(WINDOWS, 2)
    ledger.count_removed(Position(WINDOWS.name, 0, 2), 0, lambda _first: OutboxEntries("clinical"))
    report = reconcile(log, ledger)
    assert (report.windows_removed_unread, report.balanced) == (2, False)
