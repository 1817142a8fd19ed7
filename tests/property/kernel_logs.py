"""Random telemetry logs for the kernel's properties: a few devices, repeats, conflicts, disorder, silences, bad clocks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson
from hypothesis import strategies as st

from schemas.config import Config
from schemas.progress import DeviceProgress, PartitionProgress, furthest, furthest_device
from schemas.reference import Pairing
from streams.runtime.batches import Record
from streams.telemetry.kernel.partition import Ingested, PartitionKernel
from streams.telemetry.kernel.vital_table import VitalTable

BASE_MS = 1_767_607_200_000  # 2026-01-05T10:00:00Z
CONFIG = Config.model_validate(
    {
        "telemetry": {"max_open": "5s"},
        "vitals": {
            "heart_rate": {
                "window": "10s",
                "grace": "3s",
                "idle": "15s",
                "publish": {"every": "30s", "outside": [60, 65]},
            },
            "spo2": {"window": "60s", "grace": "1s", "idle": "40s", "publish": {"change": 2}},
            "systolic_bp": {"window": "10s", "grace": "2s", "idle": "20s", "publish": {"outside": [60, 64]}},
            "diastolic_bp": {"window": "10s", "grace": "2s", "idle": "20s", "publish": {"change": 1}},
        },
    }
)
TABLE = VitalTable(CONFIG)
KEY = b"a key for tests only"
UNITS = {"heart_rate": "bpm", "spo2": "%", "systolic_bp": "mmHg", "diastolic_bp": "mm[Hg]"}


def pairings() -> dict[tuple[str, str], Pairing]:
    """d0 stays with p0; d1 moves from p1 to p2 and back; d2 is nobody's."""
    moved = [("p1", 0, 25), ("p2", 25, 28), ("p1", 28, None)]
    spans = {"d0": [("p0", 0, None)], "d1": moved, "d3": [("p3", 0, None)]}
    return {("north", device): paired(device, *of_device) for device, of_device in spans.items()}


def paired(device: str, *spans: tuple[str, int, int | None]) -> Pairing:
    """The pairing of a device: (patient, from, until) in seconds after ten o'clock; from 0 is from long before."""
    intervals = [{"patient_id": p, "from": _at(a), "until": None if b is None else _at(b)} for p, a, b in spans]
    return Pairing.model_validate({"tenant_id": "north", "device_id": device, "intervals": intervals})


def _at(seconds: int) -> str:
    return f"2026-01-05T10:{seconds // 60:02d}:{seconds % 60:02d}Z" if seconds else "2026-01-01T00:00:00Z"


STANDING_MS = st.sampled_from([0, 0, 500, 12_000])
STEPS_BACK_MS = st.sampled_from([0, 0, 0, 0, 2_000, 90_000])


@st.composite
def logs(draw: st.DrawFn, most: int = 60, disorder_ms: int = 30_000) -> list[Record]:
    """A log in offset order. Now and then the broker's clock steps back; of one device the clock may stand."""
    arrival, records = BASE_MS, []
    standing = draw(st.sampled_from([None, "d0", "d1", "d3"]))
    for offset in range(draw(st.integers(1, most))):
        arrival += draw(st.sampled_from([0, 1, 400, 1000, 1000, 3000, 21_000]))
        behind = draw(st.sampled_from([0, 0, 0, 500, 1500, disorder_ms // 3, disorder_ms, -4000, -60_000]))
        vital = draw(st.sampled_from(sorted(UNITS)))
        device = draw(st.sampled_from(["d0", "d1", "d2", "d3"]))
        reading = {
            "tenant_id": "north",
            "device_id": device,
            "type": vital,
            "value": draw(st.sampled_from([59, 60, 61.5, 62, 70, 500])),
            "unit": UNITS[vital],
            "time": (arrival - behind) // 500 * 500 if device != standing else BASE_MS + draw(STANDING_MS),
        }
        if draw(st.booleans()):
            reading["seq"] = draw(st.integers(0, 2))
        records.append(Record(offset, arrival - draw(STEPS_BACK_MS), b"d", orjson.dumps(reading), ()))
        if draw(st.integers(0, 5)) == 0:
            records[-1] = records[-1]._replace(value=records[draw(st.integers(0, len(records) - 1))].value)
    return records


def measured(offset: int, at_ms: int, device: str = "d0", vital: str = "heart_rate", value: float = 61) -> Record:
    """One reading that arrives the moment it was measured."""
    reading = {
        "tenant_id": "north",
        "device_id": device,
        "type": vital,
        "value": value,
        "unit": UNITS[vital],
        "time": at_ms,
    }
    return Record(offset, at_ms, b"d", orjson.dumps(reading), ())


@dataclass
class Run:
    """What came out of a run."""

    windows: dict[str, bytes]
    late: list[tuple[int, int]]
    quarantined: list[tuple[int, int, str]]
    quarantined_rows: list[tuple[int, int, str]]
    kernel: PartitionKernel
    devices: dict[str, DeviceProgress] = field(default_factory=dict)
    partition: PartitionProgress | None = None

    def add(self, ingested: Ingested) -> None:
        self.late += [(a.offset, a.frame_index) for a in ingested.late]
        self.quarantined += [(a.offset, a.frame_index, str(a.reason)) for a in ingested.quarantined]

    def close(self, arrival_ms: int | None = None, *, all_due: bool = True) -> None:
        more = True
        while more:
            closed = self.kernel.close(arrival_ms)
            more = closed.more and all_due
            for window in closed.windows:
                value = orjson.loads(window.value)
                again = self.windows.setdefault(value["window_id"], window.value)
                assert again == window.value, "one identity, two contents"
            self.quarantined_rows += [(w.offset, w.frame_index, str(w.reason)) for w in closed.quarantined]
            for progress in closed.devices:
                self.devices[progress.device_id] = furthest_device(self.devices.get(progress.device_id), progress)
            self.partition = furthest(self.partition, closed.partition) if closed.partition else self.partition


def new_run(table: VitalTable = TABLE) -> Run:
    return Run({}, [], [], [], PartitionKernel("telemetry.readings", 0, table, KEY))


def run(records: Sequence[Record], cuts: Sequence[int] = (), closes: Sequence[bool] = (), finish: bool = True) -> Run:
    """Feed the log in batches cut at these places, with a closing pass after those batches that `closes` says."""
    r = new_run()
    bounds = [0, *sorted({c % len(records) for c in cuts} - {0}), len(records)]
    for i, (begin, end) in enumerate(itertools.pairwise(bounds)):
        r.add(r.kernel.ingest(records[begin:end], pairings(), 1))
        if i < len(closes) and closes[i]:
            r.close(all_due=False)
    if finish:
        r.close(max(record.timestamp_ms for record in records) + 10_000_000)
    return r
