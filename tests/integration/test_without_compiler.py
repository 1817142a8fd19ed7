"""The kernel's loops are Python: run as such, with the compiler switched off, they come to the same windows."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from pathlib import Path

import orjson

from streams.runtime.batches import Record
from streams.telemetry.kernel import eviction
from tests.property.kernel_logs import BASE_MS, UNITS, measured, new_run, paired, pairings

ROOT = Path(__file__).parents[2]
ODD = (
    b'{"tenant_id":"north","device_id":"d0","readings":[{"type":"spo2","value":9.75e1,"unit":"%%","time":%d},7]}',
    b'{"tenant_id":"north","device_id":"d0","type":"spo2","value":97.1234565,"unit":"%%","time":%d,"seq":123456789}',
    b'{"tenant_id":"north","device_id":"d3","type":"heart_rate","value":-0.5,"unit":"bpm","time":%d}',
    b'{"tenant_id":"north","device_id":"d0","patient_id":"p9","type":"spo2","value":95,"unit":"%%","time":%d}',
    b"not json",
)


def _log() -> list[Record]:
    rng, log, at_ms = random.Random(20260105), [], BASE_MS
    for offset in range(250):
        at_ms += rng.choice([0, 300, 1000, 1000, 16_000])
        vital, device = rng.choice(sorted(UNITS)), rng.choice(["d0", "d1", "d2", "d3"])
        record = measured(offset, at_ms - rng.choice([0, 0, 700, 9_000]), device, vital, rng.choice([61, 62.25, 500]))
        if rng.random() < 0.2:
            odd = rng.choice(ODD)
            record = record._replace(value=odd % at_ms if b"%d" in odd else odd)
        if offset % 7 == 0:
            written = f"2026-01-05T{12 + rng.randrange(2)}:{rng.randrange(60):02d}:09.25+02:00"
            record = record._replace(value=orjson.dumps(orjson.loads(measured(0, 0).value) | {"time": written}))
        log.append(record._replace(timestamp_ms=at_ms - rng.choice([0, 0, 4_000])))
    return log


def outcome() -> str:
    """A hash over all that comes of a log with closing passes, eviction, and a corrected pairing."""
    eviction.MAX_UNUSED_NAMES, unused = 0, eviction.MAX_UNUSED_NAMES
    r, log = new_run(), _log()
    try:
        for begin in range(0, len(log), 50):
            known = pairings() | ({("north", "d0"): paired("d0", ("p7", 0, 300))} if begin > 100 else {})
            r.add(r.kernel.ingest(log[begin : begin + 50], known, 1 + (begin > 100)))
            if begin % 100 == 50:
                r.close()
        r.close(BASE_MS + 10**9)
    finally:
        eviction.MAX_UNUSED_NAMES = unused
    assert len(r.windows) > 50
    assert r.late
    assert r.quarantined_rows
    told = sorted(r.windows.items()), sorted(r.late), sorted(r.quarantined), sorted(r.quarantined_rows)
    return hashlib.sha256(repr(told).encode()).hexdigest()


def test_without_the_compiler_the_kernel_comes_to_the_same():
    program = "from tests.integration.test_without_compiler import outcome; print(outcome())"
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", program],
        cwd=ROOT,
        env=os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == outcome()
