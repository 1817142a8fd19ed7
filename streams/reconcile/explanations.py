"""What does not balance, in sentences that say what to do next."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.report import ReconciliationReport


def explanations(report: ReconciliationReport, missing: int, unplaced: int, lost: Sequence[str]) -> list[str]:
    """The sentences that apply. `missing` readings and `unplaced` windows are nowhere; below zero, they are in two places.

    `lost` names the records of each partition that were removed unread.
    """
    processed = report.removed - report.removed_unread
    sentences = {
        f"{report.removed_unread} records were removed by retention before they were judged: they are lost "
        f"({'; '.join(lost)}). By rule nothing balances from then on, whatever happened to the rest. Once telemetry runs, "
        "audit.events has the exact offsets (readings.removed_unread). Sent again they are mostly late, and this version "
        "charts nothing that is late: the wards must chart by hand what they need": report.removed_unread,
        f"{report.windows_removed_unread} records were removed by retention from vitals.windows before the clinical role "
        "processed them: their results are in no chart. By rule nothing balances from then on. Once the clinical role runs, "
        "audit.events has the exact offsets (windows.removed_unread): the wards must chart by hand what they "
        "need": report.windows_removed_unread,
        f"{report.unread} records on telemetry.readings have not been read yet": report.unread,
        f"{missing} readings are nowhere: a telemetry worker is in the middle of a batch or crashed in one, or they are lost": (
            missing > 0
        ),
        f"{-missing} readings are in two places: look for windows or quarantine of readings not processed yet": missing
        < 0,
        f"{unplaced} windows are neither in an intent nor refused: the clinical role has not processed them, or they are in "
        "dlq.clinical": unplaced > 0,
        f"{-unplaced} windows are in two places": unplaced < 0,
        f"{report.contradictions} windows came out in two ways: a replay did not give the same content": (
            report.contradictions
        ),
        f"{report.unreadable} records on vitals.windows, vitals.quarantine or vitals.late cannot be read and are not "
        "counted: find out what else writes to these topics": report.unreadable,
        f"{report.dead_letters} records are in dead-letter topics and need review": report.dead_letters,
        f"{report.windows_refused_somewhere} windows in intents were refused by another endpoint of their tenant": (
            report.windows_refused_somewhere
        ),
        f"retention has taken {processed} records that were judged before: readings count from "
        f"{report.since:%Y-%m-%d %H:%M:%S} UTC on"
        if report.since
        else "retention has taken every record": processed > 0,
    }
    return [sentence for sentence, holds in sentences.items() if holds]
