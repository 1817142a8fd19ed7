"""What a device sends: one reading, or a frame of many. The published contract of `telemetry.readings`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from schemas.reasons import Reason

MOST_MEASUREMENTS = 10_000
"""A frame with more is set aside as a whole (`oversized`), by every version alike."""

Key = Annotated[str, Field(min_length=1, max_length=256)]
EpochMs = Annotated[int, Field(description="milliseconds since 1970-01-01T00:00:00Z")]


class Measurement(BaseModel):
    """One vital as measured. Units: UCUM or a documented alias; never guessed."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    type: Key = Field(description="heart_rate, respiratory_rate, spo2, … or a configured type")
    value: float = Field(description="a JSON number in `unit`")
    unit: Key = Field(description="UCUM code, or an alias such as bpm, mmHg, °C")
    time: AwareDatetime | EpochMs = Field(description="when it was measured: RFC 3339 with an offset, or epoch ms")
    seq: int | None = Field(default=None, description="the device's own sequence number")


class Reading(Measurement):
    """One measurement of one device. The device, not the payload, decides whose it is: see the pairing."""

    tenant_id: Key = "default"
    device_id: Key
    patient_id: Key | None = Field(default=None, description="only ever a cross-check against the pairing")


class Frame(BaseModel):
    """Many measurements of one device in one message. One bad measurement is quarantined alone."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    tenant_id: Key = "default"
    device_id: Key
    patient_id: Key | None = None
    readings: list[Measurement] = Field(min_length=1, max_length=MOST_MEASUREMENTS)


class SourceRecord(BaseModel):
    """Where a reading stands in the log; `index` is its place in a frame. Unique for every reading ever received."""

    model_config = ConfigDict(frozen=True)

    topic: str
    partition: int
    offset: int
    index: int = 0
    last_offset: int | None = Field(
        default=None, description="where one batch of records, which could not be opened, was set aside as a whole"
    )


class SetAside(BaseModel):
    """A reading kept but not charted: the value of `vitals.quarantine` and `vitals.late`. Restricted data."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["reading", "window"] = "reading"
    reason: Reason | Literal["late"]
    tenant_id: str | None = None
    device_id: str | None = None
    source: SourceRecord
    arrived: EpochMs = Field(description="the broker's append time of the record")
    reading: Any = Field(description="the reading as sent; null where `raw` holds it")
    raw: str | None = Field(
        default=None,
        description="base64 of bytes that are not JSON, or not JSON that every parser takes (1e400, 300 levels deep), "
        "or of the beginning of a reading over 2 MiB or an oversized one",
    )
    whole_bytes: int | None = Field(
        default=None, description="length of a reading of which `raw` is only the beginning; `source` says where it is"
    )
    endpoint: str | None = Field(default=None, description="of a window: the endpoint it was refused for")
