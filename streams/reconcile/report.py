"""The report: compares the contents of the topics and the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from schemas.instants import from_epoch_ms
from schemas.operation import State
from schemas.ports.kafka import ConsumedRecord, TopicReader
from schemas.ports.ledger import Ledger
from schemas.ports.reconciliation import ReconciliationStore
from schemas.progress import PartitionProgress, furthest
from schemas.report import ReconciliationReport
from schemas.topics import DLQ_CLINICAL, DLQ_TELEMETRY, LATE_READINGS, PROGRESS, QUARANTINE, READINGS, WINDOWS
from streams.reconcile.explanations import explanations
from streams.reconcile.quarantine import WHOLE, Add, QuarantinedRanges, read_quarantined_or_late
from streams.reconcile.readings import Partition, count
from streams.reconcile.windows import RetainedSince, read_windows

_PARTITION_KEY = b"#partition"
_INTENTS_A_PAGE = 1_000


class _Topics(NamedTuple):
    """What was read of the topics, beside what is in the store."""

    progress: Mapping[int, PartitionProgress]
    windows_since: RetainedSince
    quarantine_since: RetainedSince
    late_since: RetainedSince
    unreadable: int

    def retained_since_ms(self, partition: int) -> int:
        """A reading counts if each of its possible outcomes is retained: since then no other topic has expired records."""
        outcomes = (since.by_partition.get(partition, -1) for since in (self.quarantine_since, self.late_since))
        return max(self.windows_since.newest(), *outcomes)


class _Contents(NamedTuple):
    store: ReconciliationStore
    topics: _Topics
    partitions: dict[int, Partition]
    dead_letters: int
    windows_removed_unread: dict[int, int]


def reconcile(
    topics: TopicReader, ledger: Ledger, store: ReconciliationStore, windows_topic: str = WINDOWS.name
) -> ReconciliationReport:
    """Count everything and compare. While workers process batches, some records are not counted anywhere yet.

    `windows_topic` is the name under which the ledger stores the positions of the windows topic.
    """
    read = _read(topics, store)
    _read_intents(ledger, store)
    store.index()
    partitions = _partitions(topics.first_offsets(READINGS), read, store)
    count(partitions, topics.read(READINGS))
    letters = sum(1 for topic in (DLQ_TELEMETRY, DLQ_CLINICAL) for _ in topics.read(topic))
    unread_windows = _windows_removed_unread(topics.first_offsets(WINDOWS), ledger, windows_topic)
    return _balanced(_report(_Contents(store, read, partitions, letters, unread_windows), ledger), _lost(partitions))


def _read(topics: TopicReader, store: ReconciliationStore) -> _Topics:
    progress = read_progress(topics.read(PROGRESS))
    windows, quarantine, late = RetainedSince(), RetainedSince(), RetainedSince()
    unreadable = read_windows(topics.read(WINDOWS), store, windows)
    quarantined = Add(store.add_quarantined, store.add_quarantined_window)
    unreadable += read_quarantined_or_late(topics.read(QUARANTINE), progress, quarantined, quarantine)
    too_late = Add(store.add_late, lambda _window_id, _reason: None)
    unreadable += read_quarantined_or_late(topics.read(LATE_READINGS), progress, too_late, late)
    return _Topics(progress, windows, quarantine, late, unreadable)


def _read_intents(ledger: Ledger, store: ReconciliationStore) -> None:
    after = 0
    while page := ledger.window_ids(after, _INTENTS_A_PAGE):
        for after, window_ids in page:  # noqa: B007 (the last sequence is where the next page begins)
            store.add_reported(window_ids)


def read_progress(records: Iterable[ConsumedRecord]) -> dict[int, PartitionProgress]:
    """The furthest progress of each partition: a worker that lost a partition may have written after its successor."""
    latest: dict[int, PartitionProgress] = {}
    for record in records:
        if record.key == _PARTITION_KEY and record.value is not None:
            progress = PartitionProgress.model_validate_json(record.value)
            latest[progress.partition] = furthest(latest.get(progress.partition), progress)
    return latest


def _partitions(first_offsets: Mapping[int, int], topics: _Topics, store: ReconciliationStore) -> dict[int, Partition]:
    return {
        number: Partition(
            number=number,
            progress=topics.progress.get(number),
            retained_since_ms=topics.retained_since_ms(number),
            first_offset=first,
            store=store,
            ranges=QuarantinedRanges(store.quarantined_ranges(number, WHOLE)),
        )
        for number, first in first_offsets.items()
    }


def _report(contents: _Contents, ledger: Ledger) -> ReconciliationReport:
    store, partitions = contents.store, contents.partitions
    begins = {number: partition.begins or 0 for number, partition in partitions.items()}
    windows = store.window_counts(contents.topics.quarantine_since.newest())
    readings = store.quarantined_by_reason(begins)
    by_purpose = ledger.states_by_purpose()
    states: Counter[State] = sum((Counter(counts) for counts in by_purpose.values()), Counter())
    return ReconciliationReport(
        readings=sum(p.processed for p in partitions.values()),
        since=_since(partitions),
        unread=sum(p.unread for p in partitions.values()),
        removed=sum(p.first_offset for p in partitions.values()),
        removed_unread=sum(_removed_unread(p) for p in partitions.values()),
        duplicates=sum(p.duplicates for p in partitions.values()),
        in_windows=sum(p.in_windows for p in partitions.values()),
        in_open_windows=sum(p.progress.open_readings for p in partitions.values() if p.progress),
        quarantined=dict(sorted((Counter(readings) + Counter(windows.quarantined)).items())),
        quarantined_readings=sum(readings.values()),
        quarantined_windows=sum(windows.quarantined.values()),
        windows_refused_somewhere=windows.quarantined_for_another,
        late=store.late(begins),
        superseded=store.superseded(),
        contradictions=store.contradictions(),
        dead_letters=contents.dead_letters,
        unreadable=contents.topics.unreadable,
        windows_removed_unread=sum(contents.windows_removed_unread.values()),
        windows=windows.windows,
        windows_not_published=windows.not_published,
        windows_in_intents=windows.in_intents,
        intents=states.total(),
        intents_by_purpose={name: _by_name(counts) for name, counts in sorted(by_purpose.items())},
        charted=states[State.SUCCEEDED],
        deferred=states[State.DEFERRED],
        failed=states[State.FAILED],
        pending=_pending(states),
        unknown=states[State.UNKNOWN],
        held=states[State.HELD],
        operations_quarantined=states[State.QUARANTINED],
        balanced=False,
    )


def _pending(states: Counter[State]) -> int:
    return states[State.PENDING] + states[State.IN_PROGRESS]


def _by_name(counts: Mapping[State, int]) -> dict[str, int]:
    """Operations that are in progress count as pending, as they do in the totals of the report."""
    states = Counter(counts)
    counted = {**states, State.PENDING: _pending(states), State.IN_PROGRESS: 0}
    return {str(state): count for state, count in sorted(counted.items()) if count}


def _balanced(report: ReconciliationReport, lost: Sequence[str]) -> ReconciliationReport:
    contents = (
        report.duplicates + report.quarantined_readings + report.late + report.in_windows + report.in_open_windows
    )
    placed = report.windows_not_published + report.quarantined_windows + report.windows_in_intents
    missing, unplaced = report.readings - contents, report.windows - placed
    lost_unread = report.removed_unread or report.windows_removed_unread
    balanced = not (missing or unplaced or report.contradictions or lost_unread)
    sentences = explanations(report, missing, unplaced, lost)
    return report.model_copy(update={"balanced": balanced, "explanations": sentences})


def _since(partitions: Mapping[int, Partition]) -> datetime | None:
    """Everything appended from this time on is counted; None if nothing is excluded."""
    cut = [p.begins_ms for p in partitions.values() if p.begins and p.begins_ms is not None]
    return from_epoch_ms(max(cut)) if cut else None


def _lost(partitions: Mapping[int, Partition]) -> list[str]:
    """Where records were removed unread, as far as the topic shows; an older loss may be far before this offset."""
    counted = [(number, _removed_unread(p), p.first_offset) for number, p in sorted(partitions.items())]
    return [f"partition {number}: {removed} before offset {first}" for number, removed, first in counted if removed]


def _windows_removed_unread(first_offsets: Mapping[int, int], ledger: Ledger, topic: str) -> dict[int, int]:
    """What workers have counted, and what they will count at their next start, from the ledger's position on."""
    positions, counted = ledger.positions(topic), ledger.removed_unread(topic)
    return {
        number: counted.get(number, 0) + max(0, first - positions.get(number, 0))
        for number, first in first_offsets.items()
    }


def _removed_unread(partition: Partition) -> int:
    """What workers have counted, and what they will count at their next start, from the settled offset on."""
    progress, first = partition.progress, partition.first_offset
    if progress is None:
        return first
    counted = sum(max(0, min(first, end) - max(progress.settled, begin)) for begin, end in progress.counted_gaps)
    return progress.removed_unread + max(0, first - progress.settled) - counted
