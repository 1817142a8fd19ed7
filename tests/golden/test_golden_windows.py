"""What the kernel makes of two fixed logs, byte for byte: the digests on file were written by an earlier version.

A difference means that a replay over an upgrade charts other results. If one is intended, it needs an entry in the change
log; the new digests are what the failing test prints.
"""

from __future__ import annotations

import hashlib
import json
import random
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from schemas.config import Config
from schemas.reference import Pairing
from streams.runtime.batches import Record
from streams.telemetry.kernel.partition import PartitionKernel
from streams.telemetry.kernel.vital_table import VitalTable
from streams.telemetry.quarantine import quarantine_record, quarantine_record_of_row
from tests.system import recording

DIGESTS = json.loads((Path(__file__).parent / "windows" / "digests.json").read_text())
TOPIC = "telemetry.readings"
KEY = b"a key for tests only"
BASE_MS = 1_767_607_200_000  # 2026-01-05T10:00:00Z
UNITS = {"heart_rate": "bpm", "spo2": "%", "systolic_bp": "mmHg", "diastolic_bp": "mm[Hg]"}
CONFIG: dict[str, Any] = {
    "telemetry": {"max_open": "5s"},
    "vitals": {
        "heart_rate": {"window": "10s", "grace": "3s", "idle": "15s", "publish": {"every": "30s", "outside": [60, 65]}},
        "spo2": {"window": "60s", "grace": "1s", "idle": "40s", "publish": {"change": 2}},
        "systolic_bp": {"window": "10s", "grace": "2s", "idle": "20s", "publish": {"outside": [60, 64]}},
        "diastolic_bp": {"window": "10s", "grace": "2s", "idle": "20s", "publish": {"change": 1}},
    },
}
Pairings = dict[tuple[str, str], Pairing]
Output = tuple[str, bytes]


def paired(tenant_id: str, **devices: Sequence[tuple[str, str, str | None]]) -> Pairings:
    found: Pairings = {}
    for device_id, spans in devices.items():
        intervals = [{"patient_id": patient, "from": since, "until": until} for patient, since, until in spans]
        pairing = {"tenant_id": tenant_id, "device_id": device_id, "intervals": intervals}
        found[tenant_id, device_id] = Pairing.model_validate(pairing)
    return found


def irregular_log() -> list[Record]:
    """Disorder, repeats, contradictions, silences, frames, faults, a stopped device clock, a broker clock that steps back."""
    chance, log, arrived_ms = random.Random(20260105), [], BASE_MS
    for offset in range(3000):
        arrived_ms += chance.choice([0, 1, 300, 300, 1000, 1000, 3000]) + (21_000 if chance.random() < 0.01 else 0)
        behind_ms = chance.choice([0, 0, 0, 500, 1500, 10_000, 30_000, -4000, -60_000])
        device = chance.choice(["d0", "d1", "d2", "d3", "d4"])
        vital = chance.choice(sorted(UNITS))
        reading: dict[str, Any] = {
            "type": vital, "value": chance.choice([59, 60, 61.5, 62.0000005, 70, 500]), "unit": UNITS[vital],
            "time": BASE_MS + chance.choice([0, 500, 12_000]) if device == "d4" else (arrived_ms - behind_ms) // 500 * 500,
        }  # fmt: skip
        reading |= {"seq": chance.randrange(3)} if chance.random() < 0.5 else {}
        value = orjson.dumps({"tenant_id": "north", "device_id": device} | reading)
        if chance.random() < 0.1:
            frame = {"tenant_id": "north", "device_id": device, "readings": [reading, {**reading, "unit": "kg"}, 7]}
            value = orjson.dumps(frame)
        elif chance.random() < 0.05:
            value = chance.choice([value[:-3], value.replace(b'"bpm"', b'"furlong"'), b"", b'{"readings":[]}'])
        elif log and chance.random() < 0.2:
            value = log[chance.randrange(max(0, offset - 20), offset)].value or b""
        log.append(Record(offset, arrived_ms - chance.choice([0, 0, 0, 2000, 90_000]), None, value, ()))
    return log


def irregular() -> Iterator[Output]:
    """In batches, with a corrected pairing and a crash on the way."""
    since, moved = "2026-01-01T00:00:00Z", "2026-01-05T10:05:00Z"
    first = paired(
        "north", d0=[("p0", since, None)], d1=[("p1", since, moved), ("p2", moved, None)], d4=[("p4", since, None)]
    )
    corrected = first | paired("north", d0=[("p7", since, moved), ("p0", moved, None)], d3=[("p3", since, None)])
    yield from outputs(CONFIG, irregular_log(), 70, {0: first, 1400: corrected}, crash_at=2100)


def ward() -> Iterator[Output]:
    """The recorded ward of the system tests."""
    made = recording.record(7, devices=9, seconds=150, a_second=2)
    log = [
        Record(offset, recording.BASE_MS + message.second * 1000 + 1500, message.key, message.value, ())
        for offset, message in enumerate(made.messages)
    ]
    spans = {
        device: [(i["patient_id"], i["from"], i["until"]) for i in intervals]
        for device, intervals in made.pairings.items()
    }
    config = {"vitals": {vital: {"window": "10s", "grace": "3s", "idle": "20s"} for vital in UNITS}}
    yield from outputs(config, log, 130, {0: paired(recording.TENANT, **spans)})


def outputs(
    config: dict[str, Any], log: Sequence[Record], size: int, pairings: dict[int, Pairings], crash_at: int | None = None
) -> Iterator[Output]:
    """All that a partition's workers produce, batch by batch, with at most one crash; and the progress that they end with."""
    table = VitalTable(Config.model_validate(config))
    kernel, devices, partition = PartitionKernel(TOPIC, 0, table, KEY), {}, None
    quarantined: list[tuple[int, int]] = []
    position, crashed = 0, crash_at is None
    while position < len(log):
        batch = log[position : position + size]
        version = max(begin for begin in pairings if begin <= position)
        ingested = kernel.ingest(batch, pairings[version], version)
        for reading in (*ingested.quarantined, *ingested.late):
            quarantined.append((reading.offset, reading.frame_index))
            yield "quarantine", quarantine_record(reading, TOPIC, 0).value or b""
        position += len(batch)
        last = position >= len(log)
        more = True
        while more:
            closed = kernel.close(log[-1].timestamp_ms + 10_000_000 if last else None)
            more, partition = closed.more, closed.partition or partition
            for window in closed.windows:
                yield "windows", window.key + b" " + window.value
            for row in closed.quarantined:
                quarantined.append((row.offset, row.frame_index))
                yield "quarantine", quarantine_record_of_row(row, TOPIC, 0).value or b""
            devices |= {progress.device_id: progress for progress in closed.devices}
        if not crashed and crash_at is not None and position >= crash_at and partition is not None:
            crashed, position = True, partition.settled
            kernel = PartitionKernel(TOPIC, 0, table, KEY)
            kernel.restore(list(devices.values()), partition)
            again = sorted(coordinates for coordinates in quarantined if coordinates[0] >= position)
            kernel.restore_quarantined(array("q", [number for coordinates in again for number in coordinates]))
    for progress in (*devices.values(), *([partition] if partition else [])):
        yield "progress", progress.model_dump_json().encode()


def digests(produced: Iterator[Output]) -> dict[str, dict[str, Any]]:
    """Of each kind of record: every different one, whenever and however often it was produced."""
    records: dict[str, set[bytes]] = {}
    for kind, value in produced:
        records.setdefault(kind, set()).add(value)
    return {
        kind: {"records": len(values), "sha256": hashlib.sha256(b"\n".join(sorted(values))).hexdigest()}
        for kind, values in sorted(records.items())
    }


@pytest.mark.parametrize("log", [irregular, ward], ids=["irregular", "ward"])
def test_a_fixed_log_gives_the_bytes_that_the_version_before_gave(log: Any) -> None:
    found = digests(log())
    assert found == DIGESTS[log.__name__]
    assert min(found["windows"]["records"], found["quarantine"]["records"]) > 100
