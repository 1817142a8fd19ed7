"""A recorded ward: every message in its order, made from a seed, and what is true of it, worked out without the product.

Measurement times lie in a past that never changes, so that the same seed gives the same bytes on any day. Names and
values are canaries: no other text in the system looks like them.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fractions import Fraction
from itertools import compress
from typing import Any

import orjson

TENANT = "north"
ENDPOINT = "north-ehr"
CANARY = "qzx"
WINDOW_MS = 10_000
GRACE_MS = 3_000
BASE_MS = 1_736_071_200_000  # 2025-01-05T10:00:00Z
PRIVATE, MOVED = 0, 1
"""Numbers of the device whose patient does not consent, and of the one that goes from one patient to the next."""

UNITS = {"heart_rate": "/min", "spo2": "%", "systolic_bp": "mm[Hg]", "diastolic_bp": "mm[Hg]"}
SPANS = {"heart_rate": (50, 110), "spo2": (85, 99), "systolic_bp": (100, 160), "diastolic_bp": (55, 95)}
STATISTICS = {"heart_rate": "median", "spo2": "mean", "systolic_bp": "max", "diastolic_bp": "min"}
RESULTS = {
    "heart_rate": ("heart_rate",),
    "spo2": ("spo2",),
    "blood_pressure": ("systolic_bp", "diastolic_bp"),
}

Place = tuple[str, str, int]
"""Patient, vital (or result), start of the window in ms."""


@dataclass(frozen=True)
class Message:
    """One Kafka record: key, value, how many measurements it holds, and the second of the ward's clock it is sent in."""

    key: bytes
    value: bytes
    size: int
    second: int


@dataclass
class Recording:
    """The messages in order, and where each measurement must end."""

    patients: list[str]
    pairings: dict[str, list[dict[str, Any]]]
    messages: list[Message] = field(default_factory=list)
    measured: dict[Place, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    duplicates: int = 0
    late: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)

    @property
    def measurements(self) -> int:
        """All measurements there are."""
        return sum(message.size for message in self.messages)

    @property
    def consented(self) -> list[str]:
        """Patients whose results may be charted."""
        return [patient for number, patient in enumerate(self.patients) if number != PRIVATE]

    def windows(self) -> dict[Place, tuple[int, int]]:
        """Every window there must be: how many readings, and its statistic in millionths."""
        return {
            place: (len(readings), statistic(STATISTICS[place[1]], [value for _, value in sorted(readings)]))
            for place, readings in self.measured.items()
        }

    def results(self) -> dict[Place, dict[str, int]]:
        """Every result that must be in the chart: its vitals' values in millionths."""
        found: dict[Place, dict[str, int]] = {}
        for (patient, vital, start_ms), (_, value) in self.windows().items():
            if patient in self.consented:
                result = next(name for name, vitals in RESULTS.items() if vital in vitals)
                found.setdefault((patient, result, start_ms), {})[vital] = value
        return found

    def canaries(self) -> set[str]:
        """Texts that must be in no log and on no metrics page: names, and values with all their digits."""
        values = {decimal(value) for readings in self.measured.values() for _, value in readings}
        return {CANARY} | {value for value in values if len(value.partition(".")[2]) >= 5}


def statistic(kind: str, values: list[int]) -> int:
    """Exact, in millionths, rounded half to even."""
    ordered, middle = sorted(values), len(values) // 2
    if kind == "max":
        return ordered[-1]
    if kind == "min":
        return ordered[0]
    if kind == "mean":
        return round(Fraction(sum(values), len(values)))
    return ordered[middle] if len(values) % 2 else round(Fraction(ordered[middle - 1] + ordered[middle], 2))


def decimal(micro: int) -> str:
    """Millionths as the shortest decimal text."""
    return f"{micro // 1_000_000}.{micro % 1_000_000:06}".rstrip("0").rstrip(".")


def subject_id(patient: str) -> str:
    """The patient's id in the EHR."""
    return f"s-{patient}"


def record(seed: int, *, devices: int = 12, seconds: int = 60, a_second: int = 1) -> Recording:
    """A ward of monitors that each send so many frames a second, with repeats, disorder and every kind of trouble."""
    return _Recorder(seed, devices, seconds, a_second).recording


class _Recorder:
    def __init__(self, seed: int, devices: int, seconds: int, a_second: int) -> None:
        self._chance = random.Random(seed)
        self._slots = [(n * 1000 // a_second, (n + 1) * 1000 // a_second) for n in range(a_second)]
        self._devices = [f"d-{CANARY}-{n}" for n in range(devices)]
        patients = [f"p-{CANARY}-{n}" for n in range(devices + 1)]
        self._move_ms = BASE_MS + seconds * 500 // WINDOW_MS * WINDOW_MS + WINDOW_MS // 2
        self._last = patients[-1]
        pairings = {
            device: [{"patient_id": patients[n], "from": "2020-01-01T00:00:00Z", "until": None}]
            for n, device in enumerate(self._devices)
        }
        moved_at = datetime.fromtimestamp(self._move_ms / 1000, UTC).isoformat()
        pairings[self._devices[MOVED]][0]["until"] = moved_at
        pairings[self._devices[MOVED]].append({"patient_id": self._last, "from": moved_at, "until": None})
        self.recording = Recording(patients, pairings)
        self._record(seconds)

    def _record(self, seconds: int) -> None:
        delayed: list[Message] = []
        for second in range(seconds):
            messages = [m for s in self._slots for n in range(len(self._devices)) for m in self._frames(n, second, *s)]
            messages += self._anomalies(second)
            in_time = [self._chance.random() > 0.05 for _ in messages]
            self.recording.messages += [*compress(messages, in_time), *delayed]
            delayed = [m for m, prompt in zip(messages, in_time, strict=True) if not prompt]  # within the grace
        self.recording.messages += delayed

    def _frames(self, number: int, second: int, begin_ms: int, end_ms: int) -> Iterator[Message]:
        device, base_ms = self._devices[number], BASE_MS + second * 1000
        cuff = begin_ms == 0 and second % 5 == number % 5
        vitals = ["heart_rate", "spo2"] + (["systolic_bp", "diastolic_bp"] if cuff else [])
        readings = []
        for vital in vitals:
            time_ms = base_ms + self._chance.randrange(begin_ms, end_ms)
            value = self._value(vital)
            readings.append(_reading(vital, value, time_ms, second))
            self._measured(number, vital, time_ms, value)
        frame = {"tenant_id": TENANT, "device_id": device, "readings": readings}
        message = _message(device, frame, len(readings), second)
        yield message
        if self._chance.random() < 0.05:
            self.recording.duplicates += message.size
            yield message

    def _value(self, vital: str) -> int:
        low, high = SPANS[vital]
        return self._chance.randrange(low * 1_000_000, high * 1_000_000)

    def _measured(self, number: int, vital: str, time_ms: int, value: int) -> None:
        patient = self.recording.patients[number]
        if number == MOVED and time_ms >= self._move_ms:
            patient = self._last
        self.recording.measured[patient, vital, time_ms // WINDOW_MS * WINDOW_MS].append((time_ms, value))

    def _anomalies(self, second: int) -> Iterator[Message]:
        """One trouble a second, by turns; each knows what must become of it."""
        device, now_ms = self._devices[-1], BASE_MS + second * 1000
        good = _reading(
            "heart_rate", self._value("heart_rate"), now_ms + 1000, 0
        )  # nobody else measures at this instant
        troubled: dict[str, tuple[str, dict[str, Any]]] = {
            "unknown_unit": (device, good | {"unit": "furlong"}),
            "unit_mismatch": (device, good | {"unit": "%"}),
            "unknown_type": (device, good | {"type": "mood"}),
            "out_of_range": (device, good | {"value": 9000.5}),
            "no_time_zone": (device, good | {"time": "2025-01-05T10:00:00"}),
            "clock_ahead": (device, good | {"time": "2190-01-05T10:00:00Z"}),
            "unpaired": (f"d-{CANARY}-nobody", good),
            "patient_mismatch": (device, good | {"patient_id": f"p-{CANARY}-other"}),
            "late": (device, good | {"time": now_ms - WINDOW_MS - GRACE_MS - 2000}),
            "malformed": (device, good),
        }
        reason = list(troubled)[second % len(troubled)]
        named, reading = troubled[reason]
        message = _message(named, {"tenant_id": TENANT, "device_id": named} | reading, 1, second)
        if reason == "malformed":
            message = Message(message.key, message.value[:-9], 1, second)
        if reason == "late" and second * 1000 >= 2 * WINDOW_MS:
            self.recording.late += 1
        elif reason == "late":
            return
        else:
            self.recording.quarantined[reason] += 1
        yield message


def _reading(vital: str, value: int, time_ms: int, seq: int) -> dict[str, Any]:
    return {"type": vital, "value": float(decimal(value)), "unit": UNITS[vital], "time": time_ms, "seq": seq}


def _message(device: str, value: dict[str, Any], size: int, second: int) -> Message:
    return Message(device.encode(), orjson.dumps(value), size, second)
