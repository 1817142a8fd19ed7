"""The report itself: what the topics and the ledger hold, compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from schemas.instants import from_epoch_ms
from schemas.operation import State
from schemas.ports.kafka import Stored, TopicReader
from schemas.ports.ledger import Ledger
from schemas.progress import PartitionProgress, furthest
from schemas.report import ReconciliationReport
from schemas.topics import DLQ_CLINICAL, DLQ_TELEMETRY, LATE_READINGS, PROGRESS, QUARANTINE, READINGS, WINDOWS
from streams.reconcile.asides import Asides, Whole, read_asides
from streams.reconcile.explaining import explanations
from streams.reconcile.readings import Partition, count
from streams.reconcile.windows import Place, Window, Windows, read_windows

_PARTITION_KEY = b"#partition"


class _Found(NamedTuple):
    windows: Windows
    refused: Asides
    late: Asides
    partitions: dict[int, Partition]
    dead_letters: int
    windows_removed_unread: dict[int, int]

    def counted(self, places: Mapping[Place, str]) -> dict[Place, str]:
        """Those of readings from the first one on that counts."""
        begins = {number: partition.begins or 0 for number, partition in self.partitions.items()}
        return {place: reason for place, reason in places.items() if place[1] >= begins.get(place[0], 0)}


def reconcile(topics: TopicReader, ledger: Ledger, windows_topic: str = WINDOWS.name) -> ReconciliationReport:
    """Count everything and see whether it adds up. Ask when no worker is in the middle of a batch, or expect a remainder."""
    progress = read_progress(topics.read(PROGRESS))
    windows = read_windows(topics.read(WINDOWS))
    superseded = windows.superseded()
    refused = read_asides(topics.read(QUARANTINE), progress, superseded)
    late = read_asides(topics.read(LATE_READINGS), progress, superseded | refused.readings.keys())
    partitions = _partitions(topics.first_offsets(READINGS), progress, windows, refused, late)
    count(partitions, topics.read(READINGS))
    letters = sum(1 for topic in (DLQ_TELEMETRY, DLQ_CLINICAL) for _ in topics.read(topic))
    unread_windows = _windows_removed_unread(topics.first_offsets(WINDOWS), ledger, windows_topic)
    found = _Found(windows, refused, late, partitions, letters, unread_windows)
    return _judged(_report(found, ledger), _lost(partitions))


def read_progress(records: Iterable[Stored]) -> dict[int, PartitionProgress]:
    """The furthest of each partition: a worker that lost a partition may still have written after the next owner."""
    latest: dict[int, PartitionProgress] = {}
    for record in records:
        if record.key == _PARTITION_KEY and record.value is not None:
            progress = PartitionProgress.model_validate_json(record.value)
            latest[progress.partition] = furthest(latest.get(progress.partition), progress)
    return latest


def _partitions(
    first_offsets: Mapping[int, int],
    progress: Mapping[int, PartitionProgress],
    windows: Windows,
    refused: Asides,
    late: Asides,
) -> dict[int, Partition]:
    """A reading counts if all that may have become of it is kept: it came after what every other topic has lost."""
    by_partition: dict[int, list[Window]] = {}
    for window in windows.by_id.values():
        by_partition.setdefault(window.source.partition, []).append(window)
    asides = refused.readings.keys() | late.readings.keys()
    return {
        number: Partition(
            progress=progress.get(number),
            kept_since_ms=max(
                windows.kept_since_ms,
                *(kept.by_partition.get(number, -1) for kept in (refused.kept_since, late.kept_since)),
            ),
            first_offset=first,
            windows=by_partition.get(number, []),
            asides=asides,
            whole=Whole(refused.whole.get(number, {})),
        )
        for number, first in first_offsets.items()
    }


def _report(found: _Found, ledger: Ledger) -> ReconciliationReport:
    windows, refused, late, partitions, letters, _ = found
    published = _published(windows, refused)
    quarantined = found.counted(refused.readings)
    in_intents = ledger.source_ids() & set(published)
    refused_windows = {w: reason for w, reason in refused.windows.items() if w in published}
    refused_everywhere = refused_windows.keys() - in_intents
    held_back = {w for w, publish in published.items() if not publish} - in_intents - refused_windows.keys()
    reasons = Counter(quarantined.values()) + Counter(refused_windows[w] for w in refused_everywhere)
    states: Counter[State] = sum((Counter(counts) for counts in ledger.states().values()), Counter())
    return ReconciliationReport(
        readings=sum(p.judged for p in partitions.values()),
        since=_since(partitions),
        unread=sum(p.unread for p in partitions.values()),
        removed=sum(p.first_offset for p in partitions.values()),
        removed_unread=sum(_removed_unread(p) for p in partitions.values()),
        duplicates=sum(p.duplicates for p in partitions.values()),
        in_windows=sum(p.in_windows for p in partitions.values()),
        in_open_windows=sum(p.progress.open_readings for p in partitions.values() if p.progress),
        quarantined=dict(sorted(reasons.items())),
        quarantined_readings=len(quarantined),
        quarantined_windows=len(refused_everywhere),
        windows_refused_somewhere=len(refused_windows.keys() & in_intents),
        late=len(found.counted(late.readings)),
        superseded=len(windows.superseded()),
        contradictions=windows.contradictions,
        dead_letters=letters,
        unreadable=windows.unreadable + refused.unreadable + late.unreadable,
        windows_removed_unread=sum(found.windows_removed_unread.values()),
        windows=len(published),
        windows_not_published=len(held_back),
        windows_in_intents=len(in_intents),
        intents=states.total(),
        charted=states[State.SUCCEEDED],
        deferred=states[State.DEFERRED],
        failed=states[State.FAILED],
        pending=states[State.PENDING] + states[State.IN_PROGRESS],
        unknown=states[State.UNKNOWN],
        held=states[State.HELD],
        operations_quarantined=states[State.QUARANTINED],
        balanced=False,
    )


def _judged(report: ReconciliationReport, lost: Sequence[str]) -> ReconciliationReport:
    found = report.duplicates + report.quarantined_readings + report.late + report.in_windows + report.in_open_windows
    placed = report.windows_not_published + report.quarantined_windows + report.windows_in_intents
    missing, unplaced = report.readings - found, report.windows - placed
    balanced = not (
        missing or unplaced or report.contradictions or report.removed_unread or report.windows_removed_unread
    )
    told = explanations(report, missing, unplaced, lost)
    return report.model_copy(update={"balanced": balanced, "explanations": told})


def _published(windows: Windows, refused: Asides) -> dict[str, bool]:
    """window_id → whether published, of those whose refusal, if they were refused, is still kept."""
    since_ms = refused.kept_since.newest()
    return {window_id: w.publish for window_id, w in windows.by_id.items() if w.appended_ms > since_ms}


def _since(partitions: Mapping[int, Partition]) -> datetime | None:
    """From here on all that was appended is counted; None where nothing is left out."""
    cut = [p.begins_ms for p in partitions.values() if p.begins and p.begins_ms is not None]
    return from_epoch_ms(max(cut)) if cut else None


def _lost(partitions: Mapping[int, Partition]) -> list[str]:
    """Where records were removed unread, as far as it is known here: a loss of long ago may lie far before."""
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
    """What workers have counted, and what they will count when they next begin: they begin at what is settled."""
    progress, first = partition.progress, partition.first_offset
    if progress is None:
        return first
    counted = sum(max(0, min(first, end) - max(progress.settled, begin)) for begin, end in progress.counted_gaps)
    return progress.removed_unread + max(0, first - progress.settled) - counted
