"""The recordings that the ward replays, read from the package. What they are and their licences: data/README.md."""

from __future__ import annotations

import csv
import gzip
import io
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

MISSING = "-1.0"
MIN_ROWS = 150
"""Records with fewer rows leave a bed silent for most of a short demo."""

_SIMPLE = {
    "HR": ("heart_rate", "/min"),
    "RespRate": ("respiratory_rate", "/min"),
    "SaO2": ("spo2", "%"),
    "Temp": ("body_temperature", "Cel"),
    "Glucose": ("glucose", "mg/dL"),
    "Weight": ("body_weight", "kg"),
}
_ARTERIAL = {"SysABP": ("systolic_bp", "mm[Hg]"), "DiasABP": ("diastolic_bp", "mm[Hg]")}
_CUFF = {"NISysABP": ("systolic_bp", "mm[Hg]"), "NIDiasABP": ("diastolic_bp", "mm[Hg]")}
_MONITOR = {
    "HR": ("heart_rate", "/min"),
    "SpO2": ("spo2", "%"),
    "RR": ("respiratory_rate", "/min"),
    "ABP_SYS": ("systolic_bp", "mm[Hg]"),
    "ABP_DIA": ("diastolic_bp", "mm[Hg]"),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One vital as recorded: when (ms since the recording began), which, its value as written, its unit."""

    offset_ms: int
    type: str
    value: str
    unit: str


@dataclass(frozen=True, slots=True)
class Recording:
    """What one patient's devices recorded, in order of time, and how long it lasted."""

    name: str
    samples: tuple[Sample, ...]
    length_ms: int


@cache
def icu_stays() -> tuple[Recording, ...]:
    """The intensive-care stays with enough rows, in order of record number."""
    rows: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in _rows("icu-48h-200-patients.csv.gz"):
        if row["value"] != MISSING:
            rows[row["record"]].append(row)
    return tuple(_stay(name, rows[name]) for name in sorted(rows) if len(rows[name]) >= MIN_ROWS)


@cache
def monitor_stream() -> Recording:
    """The longest recording of the bedside monitor: all its numerics about once a second."""
    samples = [
        Sample(int(row["ms"]), *_typed(_MONITOR[row["parameter"]], row["value"]))
        for row in _rows("philips-intellivue-1hz.csv.gz")
        if row["recording"] == "demo2" and row["parameter"] in _MONITOR
    ]
    samples.sort(key=lambda sample: (sample.offset_ms, sample.type))
    first_ms, last_ms = samples[0].offset_ms, samples[-1].offset_ms
    shifted = tuple(Sample(s.offset_ms - first_ms, s.type, s.value, s.unit) for s in samples)
    return Recording("intellivue", shifted, last_ms - first_ms + 1024)


def _stay(name: str, rows: list[dict[str, str]]) -> Recording:
    """One stay. A bed has one source of blood pressure: the arterial line where there is one, else the cuff."""
    arterial = any(row["parameter"] in _ARTERIAL for row in rows)
    known = _SIMPLE | (_ARTERIAL if arterial else _CUFF)
    samples = [
        Sample(_minutes(row["time"]) * 60_000, *_typed(known[row["parameter"]], row["value"]))
        for row in rows
        if row["parameter"] in known
    ]
    samples.sort(key=lambda sample: (sample.offset_ms, sample.type))
    return Recording(name, tuple(samples), 48 * 3_600_000 + 60_000)


def _typed(kind: tuple[str, str], value: str) -> tuple[str, str, str]:
    return kind[0], value, kind[1]


def _minutes(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)


def _rows(name: str) -> list[dict[str, str]]:
    packed = files("testbed.ward").joinpath("data", name).read_bytes()
    return list(csv.DictReader(io.StringIO(gzip.decompress(packed).decode())))
