"""What does not add up, in sentences that say what to do next."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.report import ReconciliationReport


def explanations(report: ReconciliationReport, missing: int, unplaced: int, lost: Sequence[str]) -> list[str]:
    """Those that hold. `missing` readings and `unplaced` windows are nowhere; below zero, they are in two places.

    `lost` says of each partition what was removed unread.
    """
    judged = report.removed - report.removed_unread
    told = {
        f"{report.removed_unread} records were removed by retention before they were judged: they are lost "
        f"({'; '.join(lost)}). By rule nothing balances from then on, whatever became of the rest. Once telemetry runs, "
        "audit.events has the exact offsets (readings.removed_unread). Sent again they are mostly late, and this version "
        "charts nothing that is late: the wards must chart by hand what they need": report.removed_unread,
        f"{report.windows_removed_unread} records were removed by retention from vitals.windows before the clinical role "
        "took them: their results are in no chart. By rule nothing balances from then on. Once the clinical role runs, "
        "audit.events has the exact offsets (windows.removed_unread): the wards must chart by hand what they "
        "need": report.windows_removed_unread,
        f"{report.unread} records on telemetry.readings were not read yet": report.unread,
        f"{missing} readings are nowhere: a telemetry worker is at work or ended in a batch, or they are lost": (
            missing > 0
        ),
        f"{-missing} readings are in two places: look for windows or quarantine of readings not judged yet": missing
        < 0,
        f"{unplaced} windows are neither in an intent nor refused: the clinical role has not taken them, or they are in "
        "dlq.clinical": unplaced > 0,
        f"{-unplaced} windows are in two places": unplaced < 0,
        f"{report.contradictions} windows came out in two ways: a replay did not give the same content": (
            report.contradictions
        ),
        f"{report.unreadable} records on vitals.windows, vitals.quarantine or vitals.late cannot be read and are not "
        "counted: something else writes there; find it": report.unreadable,
        f"{report.dead_letters} records are in dead-letter topics and wait for a person": report.dead_letters,
        f"{report.windows_refused_somewhere} windows in intents were refused by another endpoint of their tenant": (
            report.windows_refused_somewhere
        ),
        f"retention has taken {judged} records that were judged before: readings count from "
        f"{report.since:%Y-%m-%d %H:%M:%S} UTC on"
        if report.since
        else "retention has taken every record": judged > 0,
    }
    return [sentence for sentence, holds in told.items() if holds]
