"""Compiles every loop of the window kernel, by running the kernel once over a small log that reaches all of them.

On the first start on a machine this takes up to a minute; later the loops are read from disk. Numba compiles a loop for
the types it is called with, and the kernel itself supplies them: a list of types here could become outdated.
"""

from __future__ import annotations

import numpy as np
import orjson

from schemas.config import Config
from schemas.reference import Pairing
from streams.runtime.batches import Record
from streams.telemetry.kernel.interning import Interner
from streams.telemetry.kernel.partition import PartitionKernel
from streams.telemetry.kernel.vital_table import VitalTable

_BEGAN_MS = 1_767_607_200_000
_LATER_MS = 86_400_000
_TENANT, _DEVICE = "none", "none"


def compile_loops() -> None:
    """Compile every loop now, so that none is compiled while readings wait."""
    kernel = PartitionKernel("none", 0, VitalTable(Config()), b"none")
    kernel.ingest(_log(), _paired("before"), 1)
    kernel.learn(_paired("after"), 2)
    while kernel.close().more:
        pass
    kernel.close(_BEGAN_MS + _LATER_MS)
    names = Interner()
    names.code(_TENANT, _DEVICE)
    names.reserve(1 << 12, 1 << 16)
    names.compact(np.arange(1))


def _log() -> list[Record]:
    """A reading that names its patient, a repeat of it, one that contradicts it, a frame, and bytes that are no reading."""
    reading = {"tenant_id": _TENANT, "device_id": _DEVICE, "type": "heart_rate", "unit": "/min", "time": _BEGAN_MS}
    frame = {"tenant_id": _TENANT, "device_id": _DEVICE, "readings": [reading | {"value": 62}]}
    values = [reading | {"value": value, "patient_id": "before"} for value in (60, 60, 61)]
    texts = [*map(orjson.dumps, (*values, frame)), b"none"]
    return [Record(offset, _BEGAN_MS, None, text, ()) for offset, text in enumerate(texts)]


def _paired(patient_id: str) -> dict[tuple[str, str], Pairing]:
    interval = {"patient_id": patient_id, "from": "2020-01-01T00:00:00Z"}
    pairing = {"tenant_id": _TENANT, "device_id": _DEVICE, "intervals": [interval]}
    return {(_TENANT, _DEVICE): Pairing.model_validate(pairing)}
