"""Where every reading went: counted again from the topics and the ledger, independently of any worker's own counters.

    readings = duplicates + quarantined + late + in windows + in open windows
    windows  = not published + refused everywhere + in intents

A window that one endpoint refused and another took stands in an intent; it is told apart as `windows_refused_somewhere`,
so that each window is counted once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Set
from typing import NamedTuple

import msgspec

from schemas import aside_head
from schemas.operation import State
from schemas.ports import Ledger, Stored, TopicReader
from schemas.progress import PartitionProgress
from schemas.report import ReconciliationReport
from schemas.topics import DLQ_CLINICAL, DLQ_TELEMETRY, LATE_READINGS, PROGRESS, QUARANTINE, READINGS, WINDOWS
from streams.kernel import wire

_Coordinates = tuple[int, int, int]
_PARTITION_KEY = b"#partition"


class _Source(msgspec.Struct, gc=False):
    partition: int


class _Place(msgspec.Struct, gc=False):
    offset: int
    index: int = 0


class _Window(msgspec.Struct):
    window_id: str
    content_hash: str
    count: int
    publish: bool
    source: _Source
    duplicates: int = 0
    revision: int = 0
    supersedes: list[_Place] = []


_window = msgspec.json.Decoder(_Window).decode


class Readings(NamedTuple):
    """The readings topic: measurements before and records after what the workers have judged."""

    judged: int
    unread: int
    removed: int


class Windows(NamedTuple):
    """The windows topic: window_id → whether published; readings and repeats in them; ids that came out in two ways.

    `superseded` are readings in them that an earlier run had set aside: they count here, and no longer there.
    """

    published: dict[str, bool]
    readings: int
    duplicates: int
    contradictions: int
    unreadable: int
    superseded: set[_Coordinates]


class Refused(NamedTuple):
    """The quarantine: readings by coordinates and windows by id, each with its reason; and what cannot be told."""

    readings: dict[_Coordinates, str]
    windows: dict[str, str]
    unreadable: int


def reconcile(topics: TopicReader, ledger: Ledger) -> ReconciliationReport:
    """Count everything and see whether it adds up. Ask when no worker is in the middle of a batch, or expect a remainder."""
    progress = _progress(topics.read(PROGRESS))
    readings = count_readings(topics.read(READINGS), {p: at.position for p, at in progress.items()})
    windows = count_windows(topics.read(WINDOWS))
    refused = count_refused(topics.read(QUARANTINE), progress, windows.superseded)
    late = count_refused(topics.read(LATE_READINGS), progress, windows.superseded | refused.readings.keys())
    letters = sum(1 for topic in (DLQ_TELEMETRY, DLQ_CLINICAL) for _ in topics.read(topic))
    open_readings = sum(at.open_readings for at in progress.values())
    return _report(readings, windows, refused, late, open_readings, ledger, letters)


def count_readings(records: Iterable[Stored], positions: dict[int, int]) -> Readings:
    """Measurements of the records that were judged; a record that is no reading or frame counts as one."""
    judged = unread = 0
    starts: dict[int, int] = {}
    for record in records:
        starts.setdefault(record.partition, record.offset)
        if record.offset < positions.get(record.partition, 0):
            judged += _measurements(record.value or b"")
        else:
            unread += 1
    return Readings(judged, unread, sum(starts.values()))


def count_windows(records: Iterable[Stored]) -> Windows:
    """Distinct windows. An amendment repeats readings that were counted before, or as late: the first revision counts."""
    first: dict[str, _Window] = {}
    hashes: dict[tuple[str, int], set[str]] = {}
    unreadable = 0
    for record in records:
        try:
            window = _window(record.value or b"")
        except (msgspec.MsgspecError, ValueError, RecursionError):
            unreadable += 1
            continue
        known = first.get(window.window_id)
        if known is None or window.revision < known.revision:
            first[window.window_id] = window
        hashes.setdefault((window.window_id, window.revision), set()).add(window.content_hash)
    return Windows(
        {window_id: window.publish for window_id, window in first.items()},
        sum(window.count for window in first.values()),
        sum(window.duplicates for window in first.values()),
        sum(1 for contents in hashes.values() if len(contents) > 1),
        unreadable,
        {(window.source.partition, p.offset, p.index) for window in first.values() for p in window.supersedes},
    )


def count_refused(
    records: Iterable[Stored], progress: dict[int, PartitionProgress], superseded: Set[_Coordinates]
) -> Refused:
    """Distinct readings and windows set aside. Those of readings not yet judged (a crash in between) come again."""
    readings: dict[_Coordinates, str] = {}
    windows: dict[str, str] = {}
    unreadable = 0
    for record in records:
        aside = aside_head.head(record.value)
        window_id = aside_head.window_id(aside) if aside is not None and aside.kind == "window" else None
        if aside is None or (aside.kind == "window" and window_id is None):
            unreadable += 1
        elif window_id is not None:
            windows.setdefault(window_id, aside.reason)
        elif (at := progress.get(aside.source.partition)) and aside.source.offset < at.position:
            place = (aside.source.partition, aside.source.offset, aside.source.index)
            if place not in superseded:
                readings[place] = aside.reason
    return Refused(readings, windows, unreadable)


def _report(
    readings: Readings,
    windows: Windows,
    refused: Refused,
    late: Refused,
    open_readings: int,
    ledger: Ledger,
    letters: int,
) -> ReconciliationReport:
    in_intents = ledger.source_ids() & set(windows.published)
    refused_windows = {w: reason for w, reason in refused.windows.items() if w in windows.published}
    refused_everywhere = refused_windows.keys() - in_intents
    held_back = {w for w, publish in windows.published.items() if not publish} - in_intents - refused_windows.keys()
    reasons = Counter(refused.readings.values()) + Counter(refused_windows[w] for w in refused_everywhere)
    states: Counter[State] = sum((Counter(counts) for counts in ledger.states().values()), Counter())
    report = ReconciliationReport(
        readings=readings.judged,
        unread=readings.unread,
        duplicates=windows.duplicates,
        in_windows=windows.readings,
        in_open_windows=open_readings,
        quarantined=dict(sorted(reasons.items())),
        quarantined_readings=len(refused.readings),
        quarantined_windows=len(refused_everywhere),
        windows_refused_somewhere=len(refused_windows.keys() & in_intents),
        late=len(late.readings),
        superseded=len(windows.superseded),
        unreadable=windows.unreadable + refused.unreadable + late.unreadable,
        windows=len(windows.published),
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
    return _judged(report, readings.removed, windows.contradictions, letters)


def _judged(report: ReconciliationReport, removed: int, contradictions: int, letters: int) -> ReconciliationReport:
    found = report.duplicates + report.quarantined_readings + report.late + report.in_windows + report.in_open_windows
    placed = report.windows_not_published + report.quarantined_windows + report.windows_in_intents
    balanced = report.readings == found and report.windows == placed and not contradictions
    told = _explanations(report, report.readings - found, report.windows - placed, contradictions, letters)
    if removed:
        told.append(
            f"{removed} records before the first ones kept were removed by retention: they are not in `readings`"
        )
    return report.model_copy(update={"balanced": balanced, "explanations": told})


def _explanations(
    report: ReconciliationReport, missing: int, unplaced: int, contradictions: int, letters: int
) -> list[str]:
    told = {
        f"{report.unread} records on telemetry.readings were not read yet": report.unread,
        f"{missing} readings are nowhere: a telemetry worker is at work or ended in a batch, or they are lost": missing
        > 0,
        f"{-missing} readings are in two places: look for windows or quarantine of readings not judged yet": missing
        < 0,
        f"{unplaced} windows are neither in an intent nor refused: the clinical role has not taken them, or they are in "
        "dlq.clinical": unplaced > 0,
        f"{-unplaced} windows are in two places": unplaced < 0,
        f"{contradictions} windows came out in two ways: a replay did not give the same content": contradictions,
        f"{report.unreadable} records on vitals.windows, vitals.quarantine or vitals.late cannot be read and are not "
        "counted: something else writes there; find it": report.unreadable,
        f"{letters} records are in dead-letter topics and wait for a person": letters,
        f"{report.windows_refused_somewhere} windows in intents were refused by another endpoint of their tenant": (
            report.windows_refused_somewhere
        ),
    }
    return [sentence for sentence, holds in told.items() if holds]


def _progress(records: Iterable[Stored]) -> dict[int, PartitionProgress]:
    """The furthest of each partition: a worker that lost a partition may still have written after the next owner."""
    latest: dict[int, PartitionProgress] = {}
    for record in records:
        if record.key == _PARTITION_KEY and record.value is not None:
            progress = PartitionProgress.model_validate_json(record.value)
            known = latest.get(progress.partition)
            if known is None or progress.position >= known.position:
                latest[progress.partition] = progress
    return latest


def _measurements(value: bytes) -> int:
    if b"readings" not in value and b"\\u" not in value:
        return 1
    return sum(1 for _ in wire.read(value))
