"""Anomalies of a real ward, injected into ordinary readings one after another, each with its expected outcome.

An anomaly replaces one ordinary message by the messages that are sent in its place. Anomalies that send at another instant
use odd milliseconds; the replay uses even ones, so that an anomaly never becomes a duplicate by accident.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from fractions import Fraction
from typing import Any

from schemas.fixed_point import to_micro
from schemas.instants import rfc3339_from_ms
from schemas.reasons import Reason
from testbed.ward.plan import LOOSE_DEVICE, TWICE_DEVICE
from testbed.ward.replay import Ordinary
from testbed.ward.sending import Measured, Outcome, Sent, encode, frame, measurement, number, reading

HOUR_MS = 3_600_000
SOON = timedelta(milliseconds=150)

Alter = Callable[[Ordinary, int], list[Sent]]
"""(ordinary message, how old a reading must be to be late for certain, in ms) → what is sent instead."""


@dataclass(frozen=True, slots=True)
class Anomaly:
    """One kind of anomaly: its name, a description, which messages it applies to, and how it changes them."""

    name: str
    about: str
    alter: Alter
    type: str = "heart_rate"
    frames: bool = False

    def applies_to(self, ordinary: Ordinary) -> bool:
        """Whether the message is unchanged so far, of the right vital, and from a plain bed."""
        sent = ordinary.sent
        if sent.anomaly is not None or any(outcome != "window" for outcome in sent.outcomes) or not ordinary.bed.plain:
            return False
        return ordinary.bed.frames == self.frames and (self.frames or ordinary.samples[0].type == self.type)


def _fields(ordinary: Ordinary) -> dict[str, Any]:
    sample = ordinary.samples[0]
    return measurement(sample.type, number(sample.value), sample.unit, rfc3339_from_ms(ordinary.time_ms))


def _wrong(reason: Reason, **changes: Any) -> Alter:
    """The same reading with some wrong fields (None leaves a field out): quarantined for `reason`."""

    def alter(ordinary: Ordinary, _: int) -> list[Sent]:
        fields = {k: v for k, v in (_fields(ordinary) | changes).items() if v is not None}
        payload = encode(reading(ordinary.bed.tenant_id, ordinary.bed.device_id, fields))
        return [replace(ordinary.sent, value=payload, outcomes=(reason,), truth=())]

    return alter


def _other_device(device_id: str, reason: Reason) -> Alter:
    def alter(ordinary: Ordinary, _: int) -> list[Sent]:
        payload = encode(reading(ordinary.bed.tenant_id, device_id, _fields(ordinary)))
        stray = Sent(ordinary.sent.at, device_id, payload, device_id, (reason,))
        return [ordinary.sent, stray]

    return alter


def _wrong_time(reason: Reason, write: Callable[[int], object]) -> Alter:
    def alter(ordinary: Ordinary, late_ms: int) -> list[Sent]:
        return _wrong(reason, time=write(ordinary.time_ms))(ordinary, late_ms)

    return alter


def _repeat(ordinary: Ordinary, _: int) -> list[Sent]:
    again = replace(ordinary.sent, at=ordinary.sent.at + SOON, outcomes=("duplicate",), truth=())
    return [ordinary.sent, again]


def _contradict(ordinary: Ordinary, _: int) -> list[Sent]:
    fields = _fields(ordinary)
    other = fields | {"value": fields["value"] + 1}
    bed = ordinary.bed
    return [
        replace(
            ordinary.sent,
            at=ordinary.sent.at + delay,
            value=encode(reading(bed.tenant_id, bed.device_id, said)),
            outcomes=(Reason.CONFLICTING_DUPLICATE,),
            truth=(),
        )
        for said, delay in ((fields, timedelta(0)), (other, SOON))
    ]


def _alias(ordinary: Ordinary, _: int) -> list[Sent]:
    payload = encode(
        reading(ordinary.bed.tenant_id, ordinary.bed.device_id, _fields(ordinary) | {"unit": "bpm"}),
    )
    return [replace(ordinary.sent, value=payload)]


def _fahrenheit(ordinary: Ordinary, _: int) -> list[Sent]:
    """The same temperature as a thermometer set to Fahrenheit would give it, to a tenth of a degree."""
    degrees = round(Fraction(ordinary.samples[0].value) * 9 / 5 + 32, 1)
    fields = _fields(ordinary) | {"value": float(degrees), "unit": "°F"}
    truth = Measured(ordinary.patient_id, "body_temperature", ordinary.time_ms, to_micro((degrees - 32) * 5 / 9))
    payload = encode(reading(ordinary.bed.tenant_id, ordinary.bed.device_id, fields))
    return [replace(ordinary.sent, value=payload, truth=(truth,))]


def _cut_off(ordinary: Ordinary, _: int) -> list[Sent]:
    value = ordinary.sent.value[: len(ordinary.sent.value) // 2] + b"\xff"
    return [replace(ordinary.sent, value=value, outcomes=(Reason.MALFORMED,), truth=())]


def _late(ordinary: Ordinary, late_ms: int) -> list[Sent]:
    """A reading uploaded after its window had closed. Odd milliseconds, so that it duplicates nothing."""
    time_ms = ordinary.time_ms - late_ms - 1
    sample = ordinary.samples[0]
    fields = measurement(sample.type, number(sample.value), sample.unit, rfc3339_from_ms(time_ms))
    payload = encode(reading(ordinary.bed.tenant_id, ordinary.bed.device_id, fields))
    return [
        ordinary.sent,
        replace(ordinary.sent, at=ordinary.sent.at + SOON, value=payload, outcomes=("late",), truth=()),
    ]


def _bad_in_frame(ordinary: Ordinary, _: int) -> list[Sent]:
    """A frame whose first measurement has a wrong unit: only that one is quarantined."""
    bed = ordinary.bed
    parts = [measurement(s.type, number(s.value), s.unit, ordinary.time_ms) for s in ordinary.samples]
    parts[0]["unit"] = "mmol/L"
    outcomes: tuple[Outcome, ...] = (Reason.UNIT_MISMATCH, *ordinary.sent.outcomes[1:])
    payload = encode(frame(bed.tenant_id, bed.device_id, ordinary.patient_id, parts))
    return [replace(ordinary.sent, value=payload, outcomes=outcomes, truth=ordinary.sent.truth[1:])]


ANOMALIES: tuple[Anomaly, ...] = (
    Anomaly("late", "a reading whose window had closed when it came", _late, frames=True),
    Anomaly("duplicate", "the network delivered a reading twice", _repeat),
    Anomaly("wrong_unit", "a heart rate in mmHg", _wrong(Reason.UNIT_MISMATCH, unit="mmHg")),
    Anomaly("fahrenheit", "a thermometer set to °F: converted exactly", _fahrenheit, type="body_temperature"),
    Anomaly(
        "unpaired_device", "a monitor that is not paired with a patient", _other_device(LOOSE_DEVICE, Reason.UNPAIRED)
    ),
    Anomaly(
        "two_patients",
        "a monitor paired with two patients at once",
        _other_device(TWICE_DEVICE, Reason.AMBIGUOUS_PAIRING),
    ),
    Anomaly(
        "other_patient",
        "a payload naming another patient than the paired one",
        _wrong(Reason.PATIENT_MISMATCH, patient_id="p-other"),
    ),
    Anomaly("contradiction", "two different values for the same instant", _contradict),
    Anomaly(
        "clock_ahead",
        "a device clock one hour ahead",
        _wrong_time(Reason.CLOCK_AHEAD, lambda ms: rfc3339_from_ms(ms + HOUR_MS)),
    ),
    Anomaly(
        "no_time_zone",
        "a time without offset",
        _wrong_time(Reason.NO_TIME_ZONE, lambda ms: rfc3339_from_ms(ms).rstrip("Z")),
    ),
    Anomaly("unit_alias", "a heart rate in bpm: understood", _alias),
    Anomaly("unknown_vital", "a vital that is not configured", _wrong(Reason.UNKNOWN_TYPE, type="cuff_pressure")),
    Anomaly("unknown_unit", "an unknown unit", _wrong(Reason.UNKNOWN_UNIT, unit="beats")),
    Anomaly("missing_unit", "no unit at all", _wrong(Reason.UNKNOWN_UNIT, unit=None)),
    Anomaly("bad_in_frame", "one bad measurement in a frame: its neighbours count", _bad_in_frame, frames=True),
    Anomaly(
        "too_old",
        "a reading a month old",
        _wrong_time(Reason.TOO_OLD, lambda ms: rfc3339_from_ms(ms - 30 * 24 * HOUR_MS)),
    ),
    Anomaly("cut_off", "a message cut off in transit", _cut_off),
)
"""In the order of injection, repeated; `late` waits until a window has closed."""
