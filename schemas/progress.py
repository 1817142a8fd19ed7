"""How far a partition and each of its devices are settled: what makes a replay give the same bytes."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class StreamProgress(BaseModel):
    """One vital of one device: windows ending at or before `closed_through_ms` are out; what was published last."""

    model_config = ConfigDict(frozen=True)

    closed_through_ms: int
    published_slot: int | None = Field(default=None, description="the schedule slot (start // every) published last")
    published_value: float | None = None
    outside: bool | None = Field(default=None, description="whether the last window was beyond the thresholds")
    patient_id: str | None = None


class DeviceProgress(BaseModel):
    """Value of `vitals.progress` for a device, key `tenant_id|device_id`. True for every record up to `offset`."""

    model_config = ConfigDict(frozen=True)

    tenant_id: str
    device_id: str
    offset: int = Field(description="the source offset up to which this was reached")
    watermark_ms: int
    streams: dict[str, StreamProgress]


class PartitionProgress(BaseModel):
    """Value of `vitals.progress` with key `#partition`: everything before `position` was judged and confirmed."""

    model_config = ConfigDict(frozen=True)

    partition: int
    position: int = Field(description="the next offset to read")
    settled: int = Field(description="the committed offset: no open window has a reading before it")
    open_readings: int = Field(description="readings in windows still open, repeats included")
    arrival_ms: int = Field(description="the partition's arrival clock")
    settled_arrival_ms: int | None = Field(
        default=None, description="the arrival clock at `settled`: a replay from there sees the same clock"
    )
    removed_unread: int = Field(
        default=0, ge=0, description="records that retention removed before they were read, since the topic began"
    )
