"""Progress of a partition and of each of its devices: what makes a replay produce the same bytes."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class SeriesProgress(BaseModel):
    """One vital of one device: windows ending at or before `closed_through_ms` are published; what was charted last."""

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
    streams: dict[str, SeriesProgress]


def furthest_device(known: DeviceProgress | None, found: DeviceProgress) -> DeviceProgress:
    """The furthest of two records of one device; the later record if both reached the same offset."""
    return found if known is None or found.offset >= known.offset else known


class PartitionProgress(BaseModel):
    """Value of `vitals.progress` with key `#partition`: everything before `position` was processed and confirmed."""

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
    counted_gaps: tuple[tuple[int, int], ...] = Field(
        default=(), description="of these: what lies after `settled`, as first offset and the offset after the last"
    )


def furthest(known: PartitionProgress | None, found: PartitionProgress) -> PartitionProgress:
    """The furthest of two progress records of one partition: a worker that reads again starts behind the known progress.

    Settled offsets and counts of removed records never decrease, whichever worker wrote them.
    """
    if known is None:
        return found
    ahead = found if found.position >= known.position else known
    clocks_ms = [at.settled_arrival_ms for at in (known, found) if at.settled_arrival_ms is not None]
    counted = found if found.removed_unread >= known.removed_unread else known
    return ahead.model_copy(
        update={
            "settled": max(known.settled, found.settled),
            "settled_arrival_ms": max(clocks_ms, default=None),
            "removed_unread": counted.removed_unread,
            "counted_gaps": counted.counted_gaps,
        }
    )
