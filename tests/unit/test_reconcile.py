"""The report counts anew and says what is off. Topics are kept in memory here; the ledger is real."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from adapters.ledger import SqlLedger, open_ledger
from adapters.reconciliation import reconciliation_store
from schemas.operation import Outcome, Source, State
from schemas.ports.kafka import ConsumedRecord
from schemas.progress import PartitionProgress
from schemas.report import ReconciliationReport
from schemas.topics import (
    DLQ_CLINICAL,
    LATE_READINGS,
    PROGRESS,
    QUARANTINE,
    READINGS,
    WINDOWS,
    TopicSpec,
)
from schemas.window import Coordinates, Window
from streams import reconcile as reconciliation
from tests.doubles.ledgers import intent, migrated_file
from tests.doubles.windows import window

APPENDED_MS = 1_767_607_200_000
READING = b'{"device_id":"m","type":"heart_rate","value":72,"unit":"/min","time":1767607200000}'


class Log:
    """Topics in memory, each record in partition 0 unless told."""

    def __init__(self) -> None:
        self.topics: dict[str, list[ConsumedRecord]] = {}
        self.removed: dict[str, int] = {}

    def add(self, topic: TopicSpec, value: object, *, key: bytes = b"k", partition: int = 0) -> None:
        records = self.topics.setdefault(topic.name, [])
        raw = value if isinstance(value, bytes) else json.dumps(value).encode()
        offset = sum(r.partition == partition for r in records)
        records.append(ConsumedRecord(partition, offset, key, raw, APPENDED_MS + 1000 * offset))

    def retain(self, topic: TopicSpec, first: int) -> None:
        """Retention takes what is before this offset."""
        self.topics[topic.name] = [record for record in self.topics[topic.name] if record.offset >= first]
        self.removed[topic.name] = first

    def window(self, closed: Window) -> None:
        self.add(WINDOWS, closed.model_dump_json().encode())

    def quarantined_or_late(self, topic: TopicSpec, reason: str, offset: int, index: int = 0, **more: object) -> None:
        source = {"topic": "telemetry.readings", "partition": 0, "offset": offset, "index": index}
        self.add(topic, {"kind": "reading", "reason": reason, "source": source, "arrived": 1, "reading": {}} | more)

    def progress(self, position: int, open_readings: int = 0, settled: int = 0, **more: object) -> None:
        at = PartitionProgress(
            partition=0,
            position=position,
            settled=settled,
            open_readings=open_readings,
            arrival_ms=0,
            **more,
        )
        self.add(PROGRESS, at.model_dump_json().encode(), key=b"#partition")

    def first_offsets(self, topic: TopicSpec) -> dict[int, int]:
        first = {0: 0}
        for record in reversed(self.topics.get(topic.name, [])):
            first[record.partition] = record.offset
        return first | ({0: self.removed[topic.name]} if topic.name in self.removed else {})

    def read(self, topic: TopicSpec) -> Iterator[ConsumedRecord]:
        yield from self.topics.get(topic.name, [])


def reconcile(log: Log, ledger: SqlLedger) -> ReconciliationReport:
    with reconciliation_store() as store:
        return reconciliation.reconcile(log, ledger, store)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SqlLedger]:
    with closing(open_ledger(migrated_file(tmp_path), None, subscribers=())) as opened:
        yield opened


def chart(ledger: SqlLedger, *windows: Window, endpoint: str = "fhir", state: State = State.SUCCEEDED) -> None:
    parts = [w.window_id for w in windows]
    recorded = intent(patient=parts[0], endpoint=endpoint, source=Source(event_id=parts[0], part_ids=parts))
    ledger.record([recorded])
    (claimed,) = ledger.claim(endpoint, 1, 60)
    ledger.settle({claimed.operation_id: Outcome(state=state, fence=claimed.fence, retry_after_s=3600)})


def test_a_system_where_everything_has_its_place_balances(log: Log, ledger: SqlLedger):
    for value in (READING, READING, READING, b"\xff", READING, READING, READING):
        log.add(READINGS, value)
    charted, unpublished = window(count=2, duplicates=1), window(minute=1, publish=False, cause=None, count=1)
    log.window(charted)
    log.window(unpublished)
    log.quarantined_or_late(QUARANTINE, "malformed", 3)
    log.quarantined_or_late(LATE_READINGS, "late", 2)
    log.progress(2)
    log.progress(7, open_readings=1)
    chart(ledger, charted)
    report = reconcile(log, ledger)
    assert (report.readings, report.unread) == (7, 0)
    assert (report.in_windows, report.duplicates, report.late, report.in_open_windows) == (3, 1, 1, 1)
    assert report.quarantined == {"malformed": 1}
    assert (report.windows, report.windows_not_published, report.windows_in_intents) == (2, 1, 1)
    assert (report.intents, report.charted) == (1, 1)
    assert report.balanced
    assert report.explanations == []


def test_an_empty_system_balances(log: Log, ledger: SqlLedger):
    assert reconcile(log, ledger).balanced


def test_a_lost_reading_is_reported(log: Log, ledger: SqlLedger):
    log.add(READINGS, READING)
    log.progress(1)
    report = reconcile(log, ledger)
    assert not report.balanced
    assert report.explanations[0].startswith("1 readings are missing")


def test_a_reading_counted_twice_is_reported(log: Log, ledger: SqlLedger):
    log.add(READINGS, READING)
    log.progress(1, open_readings=1)
    log.quarantined_or_late(QUARANTINE, "unpaired", 0)
    report = reconcile(log, ledger)
    assert not report.balanced
    assert report.explanations[0].startswith("1 readings are counted twice")


def test_a_window_that_the_clinical_role_did_not_process_is_reported(log: Log, ledger: SqlLedger):
    log.add(READINGS, READING)
    log.progress(1)
    log.window(window(count=1))
    log.add(DLQ_CLINICAL, b"?")
    report = reconcile(log, ledger)
    assert not report.balanced
    assert any("1 windows are neither in an intent nor quarantined" in told for told in report.explanations)
    assert any("1 records are in dead-letter topics" in told for told in report.explanations)


def test_records_produced_again_after_a_crash_are_counted_once(log: Log, ledger: SqlLedger):
    for _ in range(3):
        log.add(READINGS, READING)
    log.progress(3)
    for _ in range(2):
        log.window(window(count=1, publish=False))
        log.quarantined_or_late(QUARANTINE, "unpaired", 1)
        log.quarantined_or_late(LATE_READINGS, "late", 2)
    report = reconcile(log, ledger)
    assert (report.in_windows, report.quarantined_readings, report.late, report.windows) == (1, 1, 1, 1)
    assert report.balanced


def test_what_came_of_readings_that_are_not_judged_yet_does_not_count(log: Log, ledger: SqlLedger):
    log.add(READINGS, READING)
    log.quarantined_or_late(QUARANTINE, "unpaired", 0)
    log.quarantined_or_late(LATE_READINGS, "late", 0)
    report = reconcile(log, ledger)
    assert (report.readings, report.unread, report.quarantined_readings, report.late) == (0, 1, 0, 0)
    assert report.balanced


def test_a_window_that_came_out_in_two_ways_is_never_balanced(log: Log, ledger: SqlLedger):
    log.add(READINGS, READING)
    log.progress(1)
    log.window(window(value=72, count=1, publish=False))
    log.window(window(value=73, count=1, publish=False))
    report = reconcile(log, ledger)
    assert not report.balanced
    assert any("have two different results" in told for told in report.explanations)


def test_an_amendment_is_no_second_window_and_repeats_no_reading(log: Log, ledger: SqlLedger):
    for _ in range(2):
        log.add(READINGS, READING)
    log.progress(2)
    log.window(window(value=72, count=1, publish=False))
    log.window(window(value=73, count=2, publish=False, revision=1))
    log.quarantined_or_late(LATE_READINGS, "late", 1)
    report = reconcile(log, ledger)
    assert (report.windows, report.in_windows, report.late) == (1, 1, 1)
    assert report.balanced


def test_a_window_quarantined_for_one_endpoint_and_charted_by_another_is_counted_once_and_reported(
    log: Log, ledger: SqlLedger
):
    log.add(READINGS, READING)
    log.progress(1)
    taken = window(count=1)
    log.window(taken)
    quarantined = taken.model_dump(mode="json")
    log.quarantined_or_late(QUARANTINE, "no_consent", 0, kind="window", reading=quarantined, endpoint="epic")
    chart(ledger, taken)
    report = reconcile(log, ledger)
    assert (report.windows_in_intents, report.quarantined_windows, report.windows_refused_somewhere) == (1, 0, 1)
    assert report.balanced
    assert any("quarantined for another endpoint" in told for told in report.explanations)


def test_a_window_quarantined_for_both_endpoints_is_one_quarantined_window(log: Log, ledger: SqlLedger):
    log.add(READINGS, READING)
    log.progress(1)
    log.window(window(count=1))
    for index in range(2):
        quarantined = window(count=1).model_dump(mode="json")
        log.quarantined_or_late(QUARANTINE, "no_consent", 0, index, kind="window", reading=quarantined)
    report = reconcile(log, ledger)
    assert (report.quarantined_windows, report.quarantined) == (1, {"no_consent": 1})
    assert report.balanced


def test_operations_are_counted_by_what_became_of_them(log: Log, ledger: SqlLedger):
    states = (State.SUCCEEDED, State.DEFERRED, State.FAILED, State.UNKNOWN, State.HELD, State.QUARANTINED)
    for minute, state in enumerate(states):
        chart(ledger, window(minute=minute), state=state)
    report = reconcile(log, ledger)
    assert report.intents == 6
    counted = (report.charted, report.deferred, report.failed, report.unknown, report.held)
    assert counted == (1, 1, 1, 1, 1)
    assert report.operations_quarantined == 1


def test_records_that_cannot_be_read_are_counted_and_reported_and_hide_nothing_else(log: Log, ledger: SqlLedger):
    log.add(READINGS, READING)
    log.progress(1)
    for topic in (QUARANTINE, LATE_READINGS, WINDOWS):
        for hostile in (b"", b"\xff", b"1e400", b"[" * 5000, b'{"kind":"window","reading":{}}', b'{"window_id":1e400}'):
            log.add(topic, hostile)
    log.add(QUARANTINE, b'{"kind":"window","reason":"no_consent","source":{"partition":0,"offset":0},"reading":9}')
    log.quarantined_or_late(QUARANTINE, "unpaired", 0)
    report = reconcile(log, ledger)
    assert (report.unreadable, report.quarantined_readings, report.readings) == (19, 1, 1)
    assert report.balanced
    assert any("19 records" in told and "cannot be parsed" in told for told in report.explanations)


@pytest.mark.parametrize("reading", [b"1e400", b"9" * 400, b"[" * 930 + b"]" * 930, b'{"a":1,"a":"\\u0000"}'])
def test_quarantined_readings_written_by_earlier_versions_are_read(log: Log, ledger: SqlLedger, reading: bytes):
    log.add(READINGS, b"\xff")
    log.progress(1)
    log.add(
        QUARANTINE,
        b'{"kind":"reading","reason":"malformed","tenant_id":null,"device_id":null,"source":{"topic":"telemetry.readings",'
        b'"partition":0,"offset":0,"index":0},"arrived":1,"reading":%s,"raw":null,"whole_bytes":null}' % reading,
    )
    report = reconcile(log, ledger)
    assert report.quarantined == {"malformed": 1}
    assert report.balanced
    assert report.explanations == []


def test_a_quarantined_reading_that_a_later_window_supersedes_is_counted_once(log: Log, ledger: SqlLedger):
    for _ in range(3):
        log.add(READINGS, READING)
    log.progress(3)
    log.quarantined_or_late(QUARANTINE, "unpaired", 0)
    log.quarantined_or_late(LATE_READINGS, "late", 1)
    log.quarantined_or_late(QUARANTINE, "unpaired", 2)
    places = [Coordinates(offset=0), Coordinates(offset=1)]
    log.window(window(count=2, publish=False).model_copy(update={"supersedes": places}))
    report = reconcile(log, ledger)
    assert (report.in_windows, report.quarantined_readings, report.late, report.superseded) == (2, 1, 0, 2)
    assert report.balanced


def test_a_reading_that_was_late_first_and_quarantined_later_is_counted_once(log: Log, ledger: SqlLedger):
    log.add(READINGS, READING)
    log.progress(1)
    log.quarantined_or_late(LATE_READINGS, "late", 0)
    log.quarantined_or_late(QUARANTINE, "conflicting_duplicate", 0)
    report = reconcile(log, ledger)
    assert (report.quarantined_readings, report.late) == (1, 0)
    assert report.balanced
