"""One closing pass: due series in bounded parts, their windows as records of `vitals.windows`, and their progress."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson

from schemas.config import Vital
from schemas.fixed_point import MICRO, divide_half_even
from schemas.instants import rfc3339_from_ms
from schemas.progress import DeviceProgress, SeriesProgress
from schemas.reasons import Reason
from streams.telemetry import publishing
from streams.telemetry.kernel.closing import (
    ClosedWindows,
    Conflicts,
    close,
    due,
    empty_conflicts,
    empty_windows,
    lengths,
)
from streams.telemetry.kernel.compiled import NEVER
from streams.telemetry.kernel.decode import Decoder
from streams.telemetry.kernel.identity import content_hash, window_id
from streams.telemetry.kernel.outcomes import REASONS
from streams.telemetry.kernel.pairings import Intervals
from streams.telemetry.kernel.quarantined import QuarantinedRow
from streams.telemetry.kernel.reassignment import (
    MAX_QUARANTINED_ROWS,
    ReassignmentRows,
    empty_reassignment_rows,
    reassign_open_rows,
)
from streams.telemetry.kernel.replay import Coordinates, Replay
from streams.telemetry.kernel.rows import NO_SEQ
from streams.telemetry.kernel.store import Store
from streams.telemetry.kernel.superseded import Superseded, find_superseded, without_conflicts
from streams.telemetry.kernel.vital_table import VitalTable
from streams.telemetry.publishing import Cause, Published

MAX_SERIES_PER_PASS = 2_000
"""About so many series are closed in a pass: bounds memory, and how long the event loop is blocked."""
_STRONGEST_FIRST: tuple[Cause, ...] = ("threshold", "change", "schedule")


class ClosedWindow(NamedTuple):
    """A window to be published: key and value of `vitals.windows`, and what metrics need."""

    key: bytes
    value: bytes
    publish: bool
    cause: str | None
    end_ms: int
    size: int
    duplicates: int


class _Window(NamedTuple):
    """One element of ClosedWindows."""

    series: int
    patient: int
    end_ms: int
    size: int
    duplicates: int
    total: int
    median_doubled: int
    low: int
    high: int
    first: int
    last: int
    first_time_ms: int
    last_time_ms: int
    first_offset: int
    last_offset: int


class _Statistics(NamedTuple):
    mean: int
    median: int
    min: int
    max: int
    first: int
    last: int


class _Candidate(NamedTuple):
    """A window with the statistic by which publishing is decided, and the cause that the window has on its own."""

    window: _Window
    vital: Vital
    statistics: _Statistics
    value: float
    patient_id: str
    cause: Cause | None

    @property
    def start_ms(self) -> int:
        return self.window.end_ms - self.vital.window


class ClosingPass(NamedTuple):
    """What one pass closed, and whether more is due already."""

    windows: list[ClosedWindow]
    quarantined: list[QuarantinedRow]
    devices: list[DeviceProgress]
    more: bool


class WindowEmitter:
    """Runs closing passes over a store."""

    def __init__(self, topic: str, partition: int, vitals: VitalTable, identity_key: bytes) -> None:
        self._topic, self._partition, self._vitals, self._key = topic, partition, vitals, identity_key
        self._configured: list[Vital] = [vitals.config.vitals[name] for name in vitals.names]

    def close_due(
        self, clock_ms: int, position: int, store: Store, decoder: Decoder, published: dict[int, Published],
        replay: Replay,
    ) -> ClosingPass:  # fmt: skip
        """One pass at this arrival clock, with the progress of the devices it closed, true up to `position`."""
        vitals = self._vitals.columns
        found = np.empty(MAX_SERIES_PER_PASS + len(self._vitals.names), np.int32)
        n, more = due(
            clock_ms, position, store.devices, store.series, store.pool, vitals, len(decoder.devices),
            MAX_SERIES_PER_PASS, found,
        )  # fmt: skip
        series = found[:n]
        held = np.zeros(n, np.int64)
        lengths(series, store.series, store.pool, held)
        size = int(held.sum())
        out, conflicts = empty_windows(size), empty_conflicts(size)
        scratch = (np.empty(size, np.int32), np.empty(size, np.int32), np.empty(size, np.int64))
        # Before closing, which unlinks the rows: afterwards the window of a row is unknown.
        superseded = find_superseded(series.tolist(), store, decoder, self._vitals, replay)
        w, k = close(series, store.series, store.pool, vitals, *scratch, out, conflicts)
        windows = self._windows(out, w, decoder, published, without_conflicts(superseded, conflicts, k))
        devices = np.unique(series // len(self._vitals.names)).tolist()
        progress = [self._device_progress(device, position - 1, store, decoder, published) for device in devices]
        return ClosingPass(windows, self._conflicting(conflicts, k, decoder), progress, more)

    def reassign(
        self, devices: Sequence[int], pairings: Intervals, store: Store, decoder: Decoder
    ) -> tuple[int, list[QuarantinedRow]]:
        """Reassign these devices' open readings: how many of the devices are done, and the readings that leave."""
        out = empty_reassignment_rows(min(MAX_QUARANTINED_ROWS, store.open_rows + 1))
        codes = np.array(devices, np.int32)
        done, n = reassign_open_rows(codes, self._vitals.columns, pairings, store.series, store.pool, out)
        return done, [self._quarantined_row(REASONS[int(out.outcome[i])], out, i, decoder) for i in range(n)]

    def _windows(
        self, out: ClosedWindows, n: int, decoder: Decoder, published: dict[int, Published], superseded: Superseded
    ) -> list[ClosedWindow]:
        columns = [column[:n].tolist() for column in out]
        windows = list(map(_Window._make, zip(*columns, strict=True)))
        closed: list[ClosedWindow] = []
        for group in self._panels(windows):
            closed.extend(self._decide_group(group, decoder, published, superseded))
        return closed

    def _panels(self, windows: list[_Window]) -> Iterator[list[_Window]]:
        """Windows in groups that are published together: alone, or both halves of a panel of one patient and span."""
        vitals = len(self._vitals.names)
        siblings = self._vitals.columns.sibling
        panels: dict[tuple[int, int, int], list[_Window]] = {}
        for window in windows:
            if siblings[window.series % vitals] < 0:
                yield [window]
            else:
                panels.setdefault((window.series // vitals, window.end_ms, window.patient), []).append(window)
        for key in sorted(panels, key=lambda k: k[:2]):
            yield panels[key]

    def _decide_group(
        self, group: list[_Window], decoder: Decoder, published: dict[int, Published], superseded: Superseded
    ) -> Iterator[ClosedWindow]:
        """If one half of a panel is published, so is the other, for the strongest cause of the two."""
        names = self._vitals.names
        candidates = [self._candidate(window, decoder, published) for window in group]
        causes = {candidate.cause for candidate in candidates}
        cause = next((c for c in _STRONGEST_FIRST if c in causes), None)
        for candidate in candidates:
            window = candidate.window
            published[window.series] = publishing.remember(
                candidate.vital.publish, published.get(window.series), candidate.patient_id, candidate.start_ms,
                candidate.value, cause is not None,
            )  # fmt: skip
            companions = [names[other.series % len(names)] for other in group if other is not window]
            before = superseded.get((window.series, window.patient, window.end_ms), [])
            yield self._record(candidate, cause, companions, decoder, before)

    def _candidate(self, window: _Window, decoder: Decoder, published: dict[int, Published]) -> _Candidate:
        vital = self._configured[window.series % len(self._vitals.names)]
        statistics = _statistics(window)
        value = getattr(statistics, vital.statistic) / MICRO
        patient_id = decoder.patients.name(window.patient)[1]
        last, start_ms = published.get(window.series), window.end_ms - vital.window
        cause = publishing.decide(vital.publish, last, patient_id, start_ms, value)
        return _Candidate(window, vital, statistics, value, patient_id, cause)

    def _record(
        self, candidate: _Candidate, cause: Cause | None, companions: list[str], decoder: Decoder,
        superseded: list[Coordinates],
    ) -> ClosedWindow:  # fmt: skip
        w, s, patient_id, start_ms = candidate.window, candidate.statistics, candidate.patient_id, candidate.start_ms
        device, vital = divmod(w.series, len(self._vitals.names))
        tenant_id, device_id = decoder.devices.name(device)
        name, unit = self._vitals.names[vital], self._vitals.canonical_units[vital]
        value = {
            "window_id": window_id(self._key, tenant_id, patient_id, device_id, name, (start_ms, w.end_ms)),
            "content_hash": content_hash(unit, (w.size, *s)),
            "tenant_id": tenant_id, "patient_id": patient_id, "device_id": device_id, "type": name, "unit": unit,
            "start": rfc3339_from_ms(start_ms), "end": rfc3339_from_ms(w.end_ms),
            "first_time": rfc3339_from_ms(w.first_time_ms), "last_time": rfc3339_from_ms(w.last_time_ms),
            "count": w.size, "duplicates": w.duplicates,
            "mean": s.mean / MICRO, "median": s.median / MICRO, "min": s.min / MICRO, "max": s.max / MICRO,
            "first": s.first / MICRO, "last": s.last / MICRO,
            "revision": 0, "publish": cause is not None, "cause": cause, "companions": companions,
            "source": {
                "topic": self._topic, "partition": self._partition,
                "first_offset": w.first_offset, "last_offset": w.last_offset,
            },
        }  # fmt: skip
        if superseded:
            value["supersedes"] = [{"offset": offset, "index": frame_index} for offset, frame_index in superseded]
        key = f"{tenant_id}|{patient_id}".encode()
        return ClosedWindow(key, orjson.dumps(value), cause is not None, cause, w.end_ms, w.size, w.duplicates)

    def _conflicting(self, conflicts: Conflicts, n: int, decoder: Decoder) -> list[QuarantinedRow]:
        return [self._quarantined_row(Reason.CONFLICTING_DUPLICATE, conflicts, i, decoder) for i in range(n)]

    def _quarantined_row(
        self, reason: Reason, rows: Conflicts | ReassignmentRows, i: int, decoder: Decoder
    ) -> QuarantinedRow:
        device, vital = divmod(int(rows.series[i]), len(self._vitals.names))
        tenant_id, device_id = decoder.devices.name(device)
        reading: dict[str, Any] = {
            "type": self._vitals.names[vital], "value": int(rows.value_micro[i]) / MICRO,
            "unit": self._vitals.canonical_units[vital], "time": rfc3339_from_ms(int(rows.time_ms[i])),
            "seq": None if rows.seq[i] == NO_SEQ else int(rows.seq[i]),
        }  # fmt: skip
        offset, frame_index, arrived_ms = int(rows.offset[i]), int(rows.frame_index[i]), int(rows.arrival_ms[i])
        return QuarantinedRow(reason, tenant_id, device_id, offset, frame_index, arrived_ms, reading)

    def _device_progress(
        self, device: int, offset: int, store: Store, decoder: Decoder, published: dict[int, Published]
    ) -> DeviceProgress:
        tenant_id, device_id = decoder.devices.name(device)
        of_series: dict[str, SeriesProgress] = {}
        for vital, name in enumerate(self._vitals.names):
            series = device * len(self._vitals.names) + vital
            closed = int(store.series.closed_through[series])
            if closed != NEVER:
                of_series[name] = _series_progress(closed, published.get(series))
        watermark = int(store.devices.watermark[device])
        return DeviceProgress(
            tenant_id=tenant_id, device_id=device_id, offset=offset, watermark_ms=watermark, streams=of_series
        )


def _series_progress(closed_through_ms: int, last: Published | None) -> SeriesProgress:
    return SeriesProgress(
        closed_through_ms=closed_through_ms,
        published_slot=last.slot if last else None,
        published_value=last.value if last else None,
        outside=last.outside if last else None,
        patient_id=last.patient_id if last else None,
    )


def _statistics(w: _Window) -> _Statistics:
    mean, median = divide_half_even(w.total, w.size), divide_half_even(w.median_doubled, 2)
    return _Statistics(mean, median, w.low, w.high, w.first, w.last)
