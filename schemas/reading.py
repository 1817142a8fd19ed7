"""What a device sends: a reading, or a frame of many. The published contract of `telemetry.readings`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from schemas.reasons import Reason

MOST_MEASUREMENTS = 10_000
"""A frame with more is quarantined as a whole (`oversized`)."""

Key = Annotated[str, Field(min_length=1, max_length=256)]
EpochMs = Annotated[int, Field(description="milliseconds since 1970-01-01T00:00:00Z")]


class Measurement(BaseModel):
    """One measured value. Its unit is UCUM or a documented alias, and never guessed."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)

    type: Key = Field(description="heart_rate, respiratory_rate, spo2, … or a configured type")
    value: float = Field(description="a JSON number in `unit`")
    unit: Key = Field(description="UCUM code, or an alias such as bpm, mmHg, °C")
    time: AwareDatetime | EpochMs = Field(description="when it was measured: RFC 3339 with an offset, or epoch ms")
    seq: int | None = Field(default=None, description="the device's own sequence number")


class Reading(Measurement):
    """One measurement of one device. The device's pairing, not the payload, determines the patient."""

    tenant_id: Key = "default"
    device_id: Key
    patient_id: Key | None = Field(default=None, description="only compared with the pairing")


class Frame(BaseModel):
    """Many measurements of one device in one message. One bad measurement is quarantined alone."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    tenant_id: Key = "default"
    device_id: Key
    patient_id: Key | None = None
    readings: list[Measurement] = Field(min_length=1, max_length=MOST_MEASUREMENTS)


class SourceRecord(BaseModel):
    """The position of a reading in the log; `index` is its position in a frame. Unique for every reading."""

    model_config = ConfigDict(frozen=True)

    topic: str
    partition: int
    offset: int
    index: int = 0
    last_offset: int | None = Field(
        default=None,
        description="the last offset of a record batch that could not be decompressed and was quarantined as a whole",
    )


class QuarantineRecord(BaseModel):
    """A reading kept but not charted: the value of `vitals.quarantine` and `vitals.late`. Restricted data."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["reading", "window"] = "reading"
    reason: Reason | Literal["late"]
    tenant_id: str | None = None
    device_id: str | None = None
    source: SourceRecord
    arrived: EpochMs = Field(description="the broker's append time of the record")
    reading: Any = Field(description="the reading as sent; null if `raw` contains it")
    raw: str | None = Field(
        default=None,
        description="base64 of bytes that are not JSON, or not JSON that every parser accepts (1e400, 300 levels deep), "
        "or of the beginning of a reading that is oversized or larger than 2 MiB",
    )
    whole_bytes: int | None = Field(
        default=None, description="length of a reading of which `raw` is only the beginning; `source` locates it"
    )
    endpoint: str | None = Field(default=None, description="for a window: the endpoint that it was quarantined for")
