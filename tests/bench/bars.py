"""What a benchmark should reach, as data, and the table that says whether it did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from rich.table import Table


class Bar(NamedTuple):
    """A number of bench.json by its path, and the least (or, with `most`, the most) it should be. None: no bar."""

    path: str
    about: str
    least: float | None = None
    most: float | None = None

    def met(self, value: float) -> bool | None:
        """Whether a value is good enough; None where nothing is asked."""
        if self.least is not None:
            return value >= self.least
        return None if self.most is None else value <= self.most

    @property
    def asked(self) -> str:
        """The bar in signs."""
        if self.least is not None:
            return f"≥ {self.least:,g}"
        return "" if self.most is None else f"≤ {self.most:,g}"


BARS = (
    Bar("telemetry.readings_per_s", "telemetry role, readings a second"),
    Bar("telemetry.per_cpu_s", "telemetry role, readings a CPU second"),
    Bar("telemetry.vs_kafka_streams", "… a second, times Kafka Streams", least=1.0),
    Bar("telemetry.vs_kafka_streams_cpu", "… a CPU second, times Kafka Streams", least=1.2),
    Bar("telemetry.vs_faust", "… a second, times plain Faust", least=15),
    Bar("versions.per_cpu_s_ratio", "telemetry role, readings a CPU second, times the checkout beside"),
    Bar("versions.lower_95", "… lower 95 % bound of the median", least=0.93),
    Bar("kernel.readings_per_s", "window kernel alone, time as epoch ms"),
    Bar("kernel.rfc3339_readings_per_s", "window kernel alone, time as RFC 3339"),
    Bar("memory_100k_mib", "peak memory at 100,000 devices, MiB", most=1536),
    Bar("catch_up.seconds", "kill -9, restart, caught up: seconds"),
    Bar("catch_up.readings_per_s", "… readings a second while catching up"),
    Bar("fhir_per_s", "windows to checked Observations, a second and core", least=3_000),
    Bar("delivery.observations_per_s", "delivery to HAPI FHIR, Observations a second"),
    Bar("delivery.vs_httpx", "… times a bare httpx client", least=0.9),
    Bar("latency_ms.intent_p99", "window closed to intent durable, p99 ms"),
    Bar("latency_ms.charted_p99", "window closed to accepted by the EHR, p99 ms", most=250),
)


def value_at(results: Mapping[str, Any], path: str) -> float | None:
    """The number at a dotted path, or None where this run did not measure it."""
    found: Any = results
    for name in path.split("."):
        if not isinstance(found, Mapping) or name not in found:
            return None
        found = found[name]
    return float(found)


def table(results: Mapping[str, Any], bars: Iterable[Bar] = BARS) -> Table:
    """What was measured, beside what was asked."""
    shown = Table("what", "measured", "bar", "", title="Benchmarks")
    for column in (1, 2):
        shown.columns[column].justify = "right"
    for bar in bars:
        value = value_at(results, bar.path)
        if value is not None:
            verdict = {True: "[green]met[/]", False: "[red]missed[/]", None: ""}[bar.met(value)]
            shown.add_row(bar.about, _plainly(value), bar.asked, verdict)
    return shown


def _plainly(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.2f}"
