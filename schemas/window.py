"""A closed window: what one device measured of one vital of one patient in one span of event time."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Cause = Literal["schedule", "threshold", "change", "late"]


class Coordinates(BaseModel):
    """One reading in the window's partition of the readings topic: the offset of its record, and its index in a frame."""

    model_config = ConfigDict(frozen=True)

    offset: int
    index: int = 0


class WindowSource(BaseModel):
    """The records that a window was computed from: first and last offset in one partition of the readings topic."""

    model_config = ConfigDict(frozen=True)

    topic: str
    partition: int
    first_offset: int
    last_offset: int


class Window(BaseModel):
    """One closed window, half-open [start, end). Statistics are exact to 1e-6 of `unit` (canonical UCUM).

    `window_id` is a keyed hash of tenant, patient, device, type, start and end, so that a changed mapping amends a result
    instead of duplicating it; `content_hash` covers the statistics, so that a replay is recognised.
    """

    model_config = ConfigDict(frozen=True)

    window_id: str = Field(pattern=r"^[0-9a-f]{64}$")
    content_hash: str = Field(pattern=r"^[0-9a-f]{64}$")
    tenant_id: str
    patient_id: str
    device_id: str
    type: str
    unit: str
    start: AwareDatetime
    end: AwareDatetime
    first_time: AwareDatetime | None = Field(
        default=None, description="when its first reading was measured; null in windows of earlier versions"
    )
    last_time: AwareDatetime | None = Field(default=None, description="when its last reading was measured")
    count: int = Field(ge=1, description="readings after deduplication")
    duplicates: int = Field(default=0, ge=0, description="readings dropped as exact duplicates")
    mean: float
    median: float
    min: float
    max: float
    first: float
    last: float
    revision: int = Field(default=0, ge=0)
    publish: bool
    cause: Cause | None = None
    companions: list[str] = Field(
        default_factory=list,
        description="other types of the same panel (blood pressure) that closed in the same window",
    )
    source: WindowSource
    supersedes: list[Coordinates] = Field(
        default_factory=list,
        description="its readings that an earlier run had quarantined, e.g. before they were paired: they count here",
    )
