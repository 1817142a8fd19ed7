"""One closing pass: due streams in parts of bounded size, their windows as records of `vitals.windows`, their progress."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson

from schemas.config import Vital
from schemas.fixed_point import MICRO, divide_half_even
from schemas.instants import rfc3339_from_ms
from schemas.progress import DeviceProgress, StreamProgress
from schemas.reasons import Reason
from streams.telemetry import publishing
from streams.telemetry.kernel.admit import REASONS
from streams.telemetry.kernel.closing import ClosedWindows, Conflicts, close, due, lengths
from streams.telemetry.kernel.compiled import NEVER
from streams.telemetry.kernel.decode import Decoder
from streams.telemetry.kernel.fast_json import NO_SEQ
from streams.telemetry.kernel.identity import content_hash, window_id
from streams.telemetry.kernel.pairings import Intervals
from streams.telemetry.kernel.rejoin import MOST_WITHDRAWN, Withdrawn, blank_withdrawn, rejoin
from streams.telemetry.kernel.replay import Place, Replay
from streams.telemetry.kernel.store import Store
from streams.telemetry.kernel.superseding import Superseded, superseded, without_conflicts
from streams.telemetry.kernel.vital_table import VitalTable
from streams.telemetry.publishing import Published

MOST_STREAMS = 2_000
"""A pass closes about so many streams: bounds memory, and how long the event loop is held."""


class ClosedWindow(NamedTuple):
    """A window as it goes out: key and value of `vitals.windows`, and what metrics need."""

    key: bytes
    value: bytes
    publish: bool
    cause: str | None
    end_ms: int
    size: int
    duplicates: int


class Withdrawal(NamedTuple):
    """A reading that was open and leaves for the quarantine, in canonical units: contradicted, or no longer the patient's."""

    reason: Reason
    tenant_id: str
    device_id: str
    offset: int
    place: int
    arrived_ms: int
    reading: dict[str, Any]


class _Statistics(NamedTuple):
    mean: int
    median: int
    min: int
    max: int
    first: int
    last: int


class Passed(NamedTuple):
    """What one pass closed, and whether more is due already."""

    windows: list[ClosedWindow]
    withdrawn: list[Withdrawal]
    devices: list[DeviceProgress]
    more: bool


class WindowEmitter:
    """Runs closing passes over a store."""

    def __init__(self, topic: str, partition: int, vitals: VitalTable, identity_key: bytes) -> None:
        self._topic, self._partition, self._vitals, self._key = topic, partition, vitals, identity_key
        self._configured: list[Vital] = [vitals.config.vitals[name] for name in vitals.names]

    def run(
        self, clock_ms: int, position: int, store: Store, decoder: Decoder, published: dict[int, Published],
        replay: Replay,
    ) -> Passed:  # fmt: skip
        """One pass at this arrival clock, with the progress of the devices it closed, true up to `position`."""
        vitals = self._vitals.columns
        found = np.empty(MOST_STREAMS + len(self._vitals.names), np.int32)
        n, more = due(
            clock_ms, store.devices, store.streams, store.rows, vitals, len(decoder.devices), MOST_STREAMS, found
        )
        streams = found[:n]
        held = np.zeros(n, np.int64)
        lengths(streams, store.streams, store.rows, held)
        size = int(held.sum())
        out, conflicts = _blank_windows(size), _blank_conflicts(size)
        scratch = (np.empty(size, np.int32), np.empty(size, np.int32), np.empty(size, np.int64))
        before = superseded(streams.tolist(), store, decoder, self._vitals, replay)
        w, k = close(streams, store.streams, store.rows, vitals, *scratch, out, conflicts)
        windows = self._windows(out, w, decoder, published, without_conflicts(before, conflicts, k))
        devices = np.unique(streams // len(self._vitals.names)).tolist()
        progress = [self._device(device, position - 1, store, decoder, published) for device in devices]
        return Passed(windows, self._contradicted(conflicts, k, decoder), progress, more)

    def rejoin(
        self, devices: Sequence[int], pairings: Intervals, store: Store, decoder: Decoder
    ) -> tuple[int, list[Withdrawal]]:
        """Join these devices' open readings again: how many of the devices are done, and the readings that leave."""
        out = blank_withdrawn(min(MOST_WITHDRAWN, store.open_rows + 1))
        codes = np.array(devices, np.int32)
        done, n = rejoin(codes, self._vitals.columns, pairings, store.streams, store.rows, out)
        return done, [self._withdrawal(REASONS[int(out.fate[i])], out, i, decoder) for i in range(n)]

    def _windows(
        self, out: ClosedWindows, n: int, decoder: Decoder, published: dict[int, Published], before: Superseded
    ) -> list[ClosedWindow]:
        columns = [column[:n].tolist() for column in out]
        rows = list(zip(*columns, strict=True))
        closed: list[ClosedWindow] = []
        for group in self._panels(rows):
            closed.extend(self._publish(group, decoder, published, before))
        return closed

    def _panels(self, rows: list[tuple[int, ...]]) -> Iterator[list[tuple[int, ...]]]:
        """Windows in groups that are published together: alone, or both halves of a panel of one patient and span."""
        vitals = len(self._vitals.names)
        siblings = self._vitals.columns.sibling
        waiting: dict[tuple[int, int, int], list[tuple[int, ...]]] = {}
        for row in rows:
            stream, patient, end_ms = row[:3]
            if siblings[stream % vitals] < 0:
                yield [row]
            else:
                waiting.setdefault((stream // vitals, end_ms, patient), []).append(row)
        for key in sorted(waiting, key=lambda k: k[:2]):
            yield waiting[key]

    def _publish(
        self, group: list[tuple[int, ...]], decoder: Decoder, published: dict[int, Published], before: Superseded
    ) -> Iterator[ClosedWindow]:
        names = self._vitals.names
        judged = []
        for row in group:
            stream, patient, end_ms = row[:3]
            vital = self._configured[stream % len(names)]
            statistics = _statistics(row)
            value = getattr(statistics, vital.statistic) / MICRO
            patient_id = decoder.patients.name(patient)[1]
            cause = publishing.decide(vital.publish, published.get(stream), patient_id, end_ms - vital.window, value)
            judged.append((row, vital, statistics, value, patient_id, cause))
        causes = {cause for *_, cause in judged if cause}
        cause = next((c for c in ("threshold", "change", "schedule") if c in causes), None)
        for row, vital, statistics, value, patient_id, _ in judged:
            stream, start_ms = row[0], row[2] - vital.window
            published[stream] = publishing.remember(
                vital.publish, published.get(stream), patient_id, start_ms, value, cause is not None
            )
            companions = [names[other[0] % len(names)] for other in group if other is not row]
            places = before.get((row[0], row[1], row[2]), [])
            yield self._record(row, vital, statistics, patient_id, cause, companions, decoder, places)

    def _record(
        self, row: tuple[int, ...], vital: Vital, s: _Statistics, patient_id: str, cause: str | None,
        companions: list[str], decoder: Decoder, before: list[Place],
    ) -> ClosedWindow:  # fmt: skip
        stream, _, end_ms, size, duplicates = row[:5]
        device, kind = divmod(stream, len(self._vitals.names))
        tenant_id, device_id = decoder.devices.name(device)
        name, unit, start_ms = self._vitals.names[kind], self._vitals.canonical_units[kind], end_ms - vital.window
        value = {
            "window_id": window_id(self._key, tenant_id, patient_id, device_id, name, (start_ms, end_ms)),
            "content_hash": content_hash(unit, (size, *s)),
            "tenant_id": tenant_id, "patient_id": patient_id, "device_id": device_id, "type": name, "unit": unit,
            "start": rfc3339_from_ms(start_ms), "end": rfc3339_from_ms(end_ms),
            "first_time": rfc3339_from_ms(row[11]), "last_time": rfc3339_from_ms(row[12]),
            "count": size, "duplicates": duplicates,
            "mean": s.mean / MICRO, "median": s.median / MICRO, "min": s.min / MICRO, "max": s.max / MICRO,
            "first": s.first / MICRO, "last": s.last / MICRO,
            "revision": 0, "publish": cause is not None, "cause": cause, "companions": companions,
            "source": {
                "topic": self._topic, "partition": self._partition, "first_offset": row[13], "last_offset": row[14],
            },
        }  # fmt: skip
        if before:
            value["supersedes"] = [{"offset": offset, "index": index} for offset, index in before]
        key = f"{tenant_id}|{patient_id}".encode()
        return ClosedWindow(key, orjson.dumps(value), cause is not None, cause, end_ms, size, duplicates)

    def _contradicted(self, c: Conflicts, n: int, decoder: Decoder) -> list[Withdrawal]:
        return [self._withdrawal(Reason.CONFLICTING_DUPLICATE, c, i, decoder) for i in range(n)]

    def _withdrawal(self, reason: Reason, c: Conflicts | Withdrawn, i: int, decoder: Decoder) -> Withdrawal:
        device, kind = divmod(int(c.stream[i]), len(self._vitals.names))
        tenant_id, device_id = decoder.devices.name(device)
        reading = {
            "type": self._vitals.names[kind], "value": int(c.value_micro[i]) / MICRO,
            "unit": self._vitals.canonical_units[kind], "time": rfc3339_from_ms(int(c.time_ms[i])),
            "seq": None if c.seq[i] == NO_SEQ else int(c.seq[i]),
        }  # fmt: skip
        offset, place, arrived_ms = int(c.offset[i]), int(c.place[i]), int(c.arrival_ms[i])
        return Withdrawal(reason, tenant_id, device_id, offset, place, arrived_ms, reading)

    def _device(
        self, device: int, offset: int, store: Store, decoder: Decoder, published: dict[int, Published]
    ) -> DeviceProgress:
        tenant_id, device_id = decoder.devices.name(device)
        streams: dict[str, StreamProgress] = {}
        for kind, name in enumerate(self._vitals.names):
            stream = device * len(self._vitals.names) + kind
            closed = int(store.streams.closed_through[stream])
            if closed == NEVER:
                continue
            last = published.get(stream)
            streams[name] = StreamProgress(
                closed_through_ms=closed,
                published_slot=last.slot if last else None,
                published_value=last.value if last else None,
                outside=last.outside if last else None,
                patient_id=last.patient_id if last else None,
            )
        watermark = int(store.devices.watermark[device])
        return DeviceProgress(
            tenant_id=tenant_id, device_id=device_id, offset=offset, watermark_ms=watermark, streams=streams
        )


def _statistics(row: tuple[int, ...]) -> _Statistics:
    size, total, median_doubled, low, high, first, last = row[3], *row[5:11]
    return _Statistics(divide_half_even(total, size), divide_half_even(median_doubled, 2), low, high, first, last)


def _blank_windows(size: int) -> ClosedWindows:
    i64 = (np.zeros(size, np.int64) for _ in range(13))
    return ClosedWindows(np.zeros(size, np.int32), np.zeros(size, np.int32), *i64)


def _blank_conflicts(size: int) -> Conflicts:
    time, value, seq, offset, arrival = (np.empty(size, np.int64) for _ in range(5))
    stream, patient, place = (np.empty(size, np.int32) for _ in range(3))
    return Conflicts(stream, patient, time, value, seq, offset, arrival, place)
