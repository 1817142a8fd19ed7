"""What a number was measured on."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

PACKAGES = (
    "vitalwire", "faust-streaming", "aiokafka", "confluent-kafka", "numpy", "numba", "orjson", "msgspec", "httpx", "SQLAlchemy",
    "psycopg",
)  # fmt: skip


def facts() -> dict[str, object]:
    """Cores, processor, memory, system, Python and package versions, and the time."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "cpu": _named("/proc/cpuinfo", "model name") or platform.processor(),
        "memory": _named("/proc/meminfo", "MemTotal"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "load_before": os.getloadavg()[0],
    }


def peak_rss_mib(pid: int | str = "self") -> float:
    """The most memory a process ever held, as Linux counts it."""
    return _kib(pid, "VmHWM") / 1024


def rss_mib(pid: int | str = "self") -> float:
    """The memory a process holds now."""
    return _kib(pid, "VmRSS") / 1024


def _kib(pid: int | str, name: str) -> int:
    return int(_named(f"/proc/{pid}/status", name).split()[0])


def _named(file: str, name: str) -> str:
    for line in Path(file).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""
