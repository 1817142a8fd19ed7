"""The reconciliation report: where every reading went."""

from __future__ import annotations

from pydantic import AwareDatetime, BaseModel, Field


class ReconciliationReport(BaseModel):
    """Counts over topics, as far as all of them are kept, and the ledger. `balanced` is counted, never assumed.

    readings = duplicates + quarantined + late + in windows + in_open_windows, and
    windows = windows_not_published + quarantined windows + those in intents; and nothing was removed unread.
    """

    readings: int = Field(description="measurements read so far from telemetry.readings, as far as they are kept")
    since: AwareDatetime | None = Field(
        default=None,
        description="readings appended from here on are counted: what became of earlier ones is no longer kept; null: all",
    )
    removed: int = Field(default=0, description="records that retention has removed from telemetry.readings")
    removed_unread: int = Field(
        default=0, description="of these: not judged yet, or needed by a window still open. They are lost"
    )
    unread: int = Field(default=0, description="records on the topic that no worker has read yet")
    duplicates: int
    in_windows: int = Field(description="readings counted in closed windows")
    in_open_windows: int
    quarantined: dict[str, int] = Field(description="by reason; readings, then windows, by the same codes")
    quarantined_readings: int
    quarantined_windows: int = Field(description="windows that every endpoint refused")
    windows_refused_somewhere: int = Field(
        default=0, description="windows in an intent for one endpoint that another endpoint refused"
    )
    late: int
    superseded: int = Field(
        default=0,
        description="readings in windows that an earlier run had set aside; they count in their windows alone",
    )
    contradictions: int = Field(default=0, description="windows that came out in two ways")
    dead_letters: int = Field(default=0, description="records in dead-letter topics")
    unreadable: int = Field(
        default=0, description="records on vitals.windows, vitals.quarantine and vitals.late that cannot be read back"
    )
    windows: int
    windows_not_published: int
    windows_in_intents: int
    intents: int
    charted: int
    deferred: int
    failed: int
    pending: int
    unknown: int
    held: int = 0
    operations_quarantined: int = 0
    balanced: bool
    explanations: list[str] = Field(default_factory=list, description="what does not add up, and where to look")
