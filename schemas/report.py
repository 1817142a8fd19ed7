"""The reconciliation report: it accounts for every reading."""

from __future__ import annotations

from pydantic import AwareDatetime, BaseModel, Field


class ReconciliationReport(BaseModel):
    """Counts over the ledger and the topics, as far back as all of them are retained. `balanced` is computed, never assumed.

    readings = duplicates + quarantined + late + in windows + in_open_windows, and
    windows = windows_not_published + quarantined windows + windows in intents; and neither topic lost a record unread.
    """

    readings: int = Field(description="measurements read so far from telemetry.readings, as far as they are retained")
    since: AwareDatetime | None = Field(
        default=None,
        description="only readings appended since then are counted, because outcomes of earlier ones have expired; null: all",
    )
    removed: int = Field(default=0, description="records that retention has removed from telemetry.readings")
    removed_unread: int = Field(
        default=0, description="of these: not processed yet, or needed by an open window. They are lost"
    )
    unread: int = Field(default=0, description="records on the topic that no worker has read yet")
    duplicates: int
    in_windows: int = Field(description="readings counted in closed windows")
    in_open_windows: int
    quarantined: dict[str, int] = Field(description="by reason; readings, then windows, by the same codes")
    quarantined_readings: int
    quarantined_windows: int = Field(description="windows that were quarantined for every endpoint")
    windows_refused_somewhere: int = Field(
        default=0, description="windows in an intent for one endpoint that were quarantined for another"
    )
    late: int
    superseded: int = Field(
        default=0,
        description="readings in windows that an earlier run had quarantined; they count in their windows only",
    )
    contradictions: int = Field(default=0, description="windows with two different results")
    dead_letters: int = Field(default=0, description="records in dead-letter topics")
    unreadable: int = Field(
        default=0, description="records on vitals.windows, vitals.quarantine and vitals.late that cannot be parsed"
    )
    windows_removed_unread: int = Field(
        default=0,
        description="records that retention removed from vitals.windows before the clinical role took them: lost",
    )
    windows: int
    windows_not_published: int
    windows_in_intents: int
    intents: int
    intents_by_purpose: dict[str, dict[str, int]] = Field(
        default_factory=dict,
        description="purpose of the consent → state → operations in the ledger; in progress counts as pending",
    )
    charted: int
    deferred: int
    failed: int
    pending: int
    unknown: int
    held: int = 0
    operations_quarantined: int = 0
    balanced: bool
    explanations: list[str] = Field(default_factory=list, description="which counts do not balance, and where to look")
