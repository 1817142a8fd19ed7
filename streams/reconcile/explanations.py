"""Explains each imbalance of the report, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence

from schemas.report import ReconciliationReport


def explanations(report: ReconciliationReport, missing: int, unplaced: int, lost: Sequence[str]) -> list[str]:
    """The sentences that apply. `missing` readings and `unplaced` windows have no outcome; below zero, they have two.

    `lost` names the records of each partition that were removed unread.
    """
    processed = report.removed - report.removed_unread
    sentences = {
        f"{report.removed_unread} records were removed by retention before they were processed, and are lost "
        f"({'; '.join(lost)}). The report cannot balance again. Once telemetry runs, audit.events has the exact offsets "
        "(readings.removed_unread). Readings sent again are mostly late, and late readings are not charted: the wards must "
        "chart what they need by hand": report.removed_unread,
        f"{report.windows_removed_unread} records were removed by retention from vitals.windows before the clinical role "
        "processed them; their results are in no chart. The report cannot balance again. Once the clinical role runs, "
        "audit.events has the exact offsets (windows.removed_unread). The wards must chart what they need by "
        "hand": report.windows_removed_unread,
        f"{report.unread} records on telemetry.readings have not been read yet": report.unread,
        f"{missing} readings are missing: a telemetry worker is processing a batch, or crashed in one, or they are lost": (
            missing > 0
        ),
        f"{-missing} readings are counted twice: look for windows or quarantine records of unprocessed readings": missing
        < 0,
        f"{unplaced} windows are neither in an intent nor quarantined: the clinical role has not processed them, or they are "
        "in dlq.clinical": unplaced > 0,
        f"{-unplaced} windows are counted twice": unplaced < 0,
        f"{report.contradictions} windows have two different results: a replay produced other content": (
            report.contradictions
        ),
        f"{report.unreadable} records on vitals.windows, vitals.quarantine or vitals.late cannot be parsed and are not "
        "counted: find out what else writes to these topics": report.unreadable,
        f"{report.dead_letters} records are in dead-letter topics and need manual review": report.dead_letters,
        f"{report.windows_refused_somewhere} windows in intents were quarantined for another endpoint of their tenant": (
            report.windows_refused_somewhere
        ),
        f"retention removed {processed} records after they were processed: readings count from "
        f"{report.since:%Y-%m-%d %H:%M:%S} UTC on"
        if report.since
        else "retention removed every record": processed > 0,
    }
    return [sentence for sentence, holds in sentences.items() if holds]
