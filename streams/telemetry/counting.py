"""Metrics of the telemetry role: outcomes of readings, windows, and the age of open windows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from schemas.ports.clock import Clock
from schemas.ports.observer import Observer
from schemas.reasons import Reason
from streams.telemetry.kernel.compiled import NEVER
from streams.telemetry.kernel.partition import Closed, Ingested, PartitionKernel


class TelemetryCounters:
    """Turns the kernel's results into metrics. A reading is counted once its records are confirmed or can be repeated."""

    def __init__(self, observer: Observer, clock: Clock) -> None:
        self._observer, self._clock = observer, clock

    def rebalance(self, event: str) -> None:
        """Partitions were assigned or revoked."""
        self._observer.count("rebalances_total", event=event)

    def ready(self, *, is_ready: bool) -> None:
        """Whether the role can process readings."""
        self._observer.gauge("worker_ready", float(is_ready), role="telemetry")

    def batch(self, topic: str, records: int) -> None:
        """A batch is about to be ingested."""
        self._observer.count("batches_total", topic=topic)
        self._observer.gauge("batch_readings", records)

    def kernel_time(self, seconds: float, step: str) -> None:
        """How long one call of the kernel took."""
        self._observer.seconds("kernel_seconds", seconds, step=step)

    def ingested(self, result: Ingested) -> None:
        """Readings that were quarantined or late at once."""
        self._quarantined([reading.reason for reading in result.quarantined])
        if result.late:
            self._observer.count("readings_total", len(result.late), outcome="late", reason="")

    def unreadable(self, reason: Reason) -> None:
        """Bytes that the transport could not parse as a record."""
        self._quarantined([reason])
        self.dead_letter(reason)

    def dead_letter(self, code: str) -> None:
        """A record that is not a reading."""
        self._observer.count("dead_letters_total", stage="telemetry", code=code)

    def closed(self, closed: Closed) -> None:
        """A closing pass whose windows and quarantined readings are confirmed."""
        count, windows = self._observer.count, closed.windows
        count("readings_total", sum(w.size for w in windows), outcome="windowed", reason="")
        count("readings_total", sum(w.duplicates for w in windows), outcome="duplicate", reason="")
        self._quarantined([row.reason for row in closed.quarantined])
        for (publish, cause), n in Counter((w.publish, w.cause or "") for w in windows).items():
            count("windows_total", n, publish="true" if publish else "false", cause=cause)
        now_ms = self._clock().timestamp() * 1000
        for window in windows:
            self._observer.seconds("measurement_to_window_seconds", max(0.0, (now_ms - window.end_ms) / 1000))

    def open_windows(self, kernel: PartitionKernel) -> None:
        """The open readings of a partition, and the age of its oldest window by the partition's arrival clock."""
        oldest = kernel.store.oldest_open_end_ms()
        age_s = 0.0 if oldest is None or kernel.arrival_ms == NEVER else (kernel.arrival_ms - oldest) / 1000
        self._gauges(kernel.partition, kernel.store.open_rows, max(0.0, age_s))

    def nothing_open(self, partition: int) -> None:
        """The partition was assigned to another worker."""
        self._gauges(partition, 0, 0)

    def _quarantined(self, reasons: Sequence[Reason | str]) -> None:
        for reason, n in Counter(map(str, reasons)).items():
            self._observer.count("readings_total", n, outcome="quarantined", reason=reason)

    def _gauges(self, partition: int, open_readings: int, age_s: float) -> None:
        self._observer.gauge("open_readings", open_readings, partition=str(partition))
        self._observer.gauge("watermark_age_seconds", age_s, partition=str(partition))
