"""The kernel of one partition: records in; windows, quarantined readings and the settled offset out. Deterministic and pure."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from schemas.progress import DeviceProgress, PartitionProgress
from schemas.reasons import LATE as LATE_REASON
from schemas.reasons import Reason
from schemas.reference import Pairing
from streams.runtime.batches import Record
from streams.runtime.columns import Columns, columns_of
from streams.telemetry.kernel.admit import Appended, ClockLimits, admit
from streams.telemetry.kernel.arrival_clock import ArrivalClock
from streams.telemetry.kernel.compiled import I64, U8
from streams.telemetry.kernel.decode import Decoder, InvalidRow
from streams.telemetry.kernel.eviction import NameEviction
from streams.telemetry.kernel.interning import translate
from streams.telemetry.kernel.outcomes import ALREADY_PROCESSED, LATE, OPENED, REASONS
from streams.telemetry.kernel.pairings import DevicePairings, Intervals
from streams.telemetry.kernel.quarantined import QuarantinedReading, QuarantinedRow
from streams.telemetry.kernel.replay import Replay
from streams.telemetry.kernel.rows import NO_CLAIM, Rows
from streams.telemetry.kernel.store import Store
from streams.telemetry.kernel.vital_table import VitalTable
from streams.telemetry.kernel.window_emitter import ClosedWindow, WindowEmitter
from streams.telemetry.publishing import Published


@dataclass(slots=True)
class Ingested:
    """The immediate outcomes of a batch; readings opened come out of `close` later. `more`: ingest the same batch again."""

    opened: int = 0
    already_processed: int = 0
    more: bool = False
    quarantined: list[QuarantinedReading] = field(default_factory=list)
    late: list[QuarantinedReading] = field(default_factory=list)


@dataclass(slots=True)
class Closed:
    """A closing pass: windows, each series' in order of time, and open readings that leave for the quarantine.

    The progress is true once both are confirmed. `more`: another pass has work already.
    """

    windows: list[ClosedWindow] = field(default_factory=list)
    quarantined: list[QuarantinedRow] = field(default_factory=list)
    devices: list[DeviceProgress] = field(default_factory=list)
    partition: PartitionProgress | None = None
    more: bool = False


class PartitionKernel:
    """State and rules of one partition of `telemetry.readings`."""

    def __init__(self, topic: str, partition: int, vitals: VitalTable, identity_key: bytes) -> None:
        self.partition = partition
        self.vitals = vitals
        self.decoder = Decoder(vitals)
        self.store = Store(len(vitals.names))
        self.published: dict[int, Published] = {}
        self.position: int | None = None
        self.quarantine_restored = False
        self._clock = ArrivalClock()
        self._replay = Replay()
        self._emitter = WindowEmitter(topic, partition, vitals, identity_key)
        self._pairings = DevicePairings()
        self._eviction = NameEviction()
        telemetry = vitals.config.telemetry
        self._limits = ClockLimits(telemetry.clock_ahead, telemetry.max_age)

    @property
    def arrival_ms(self) -> int:
        """The partition's arrival clock: the latest append time so far."""
        return self._clock.now_ms

    @property
    def processed_position(self) -> int:
        """The offset before which an earlier run processed everything."""
        return self._replay.processed_position

    def restore(self, devices: Iterable[DeviceProgress], partition: PartitionProgress | None) -> None:
        """Resume from the progress of an earlier run: what it closed is not closed again."""
        devices = list(devices)
        self._replay.restore(devices, partition.position if partition else 0)
        if partition and partition.settled_arrival_ms is not None:
            self._clock.restore(partition.settled, partition.settled_arrival_ms)
        for progress in devices:
            self._restore_device(progress)

    def _restore_device(self, progress: DeviceProgress) -> None:
        code = self.decoder.devices.code(progress.tenant_id, progress.device_id)
        self.store.reserve(code + 1, 0)
        self.store.devices.watermark[code] = progress.watermark_ms
        self.store.devices.processed_through[code] = progress.offset
        for name, restored in progress.streams.items():
            if name not in self.vitals.index:
                continue
            series = code * len(self.vitals.names) + self.vitals.index[name]
            self.store.series.closed_through[series] = restored.closed_through_ms
            self.store.series.published_through[series] = restored.closed_through_ms
            if restored.patient_id is not None:
                self.published[series] = Published(
                    restored.patient_id, restored.published_slot, restored.published_value, restored.outside
                )

    def restore_quarantined(self, coordinates: array[int]) -> None:
        """Offset and frame index in turn of all that earlier runs quarantined, from the first record to come."""
        self._replay.restore_quarantined(coordinates)
        self.quarantine_restored = True

    def ingest(
        self, records: Sequence[Record] | Columns, pairings: Mapping[tuple[str, str], Pairing], pairings_version: int
    ) -> Ingested:
        """Admit every reading of the batch, or of its first records if they are very many: then there is `more`.

        Records before `position` were ingested in this run already and are skipped.
        """
        columns = records if isinstance(records, Columns) else columns_of(records)
        if self.position is not None:
            columns = columns.after(self.position)
        if not columns.values:
            return Ingested()
        rows, invalid, ingested = self.decoder.decode(columns.values)
        more, columns = ingested < len(columns.values), columns.first(ingested)
        self.store.reserve(len(self.decoder.devices), len(rows.device))
        arrived_ms = self._clock.advance(columns.offsets, columns.arrivals_ms)
        known = self.learn(pairings, pairings_version)
        outcome = self._admit(columns, arrived_ms, self._with_known_claims(rows), known)
        self.position = int(columns.offsets[-1]) + 1
        self._note_reopened(columns, rows, outcome)
        result = self._result(columns, rows, outcome, invalid)
        self._replay.advance_to(self.position)
        # Last: it renumbers devices and patients, and `rows` still hold the old codes.
        if self._eviction.is_due(self.decoder):
            self.published = self._eviction.evict(self.decoder, self.store, self._pairings, self.published)
        result.more = more
        return result

    def skip_to(self, position: int) -> None:
        """Nothing before this offset is left to be ingested, even if no record has it."""
        self.position = max(self.position or 0, position)
        self._clock.advance_to(self.position)

    def learn(self, pairings: Mapping[tuple[str, str], Pairing], version: int) -> Intervals:
        """Use these pairings from now on. Open readings of a corrected device are reassigned before they close."""
        return self._pairings.learn(pairings, version, self.decoder.devices, self.decoder.patients)

    def _with_known_claims(self, rows: Rows) -> Rows:
        """With the claims as codes of the patients known from pairings."""
        if not len(self.decoder.claims):
            return rows
        # One element more: NO_CLAIM is -1, so it indexes the last one and stays NO_CLAIM.
        codes = np.full(len(self.decoder.claims) + 1, NO_CLAIM, np.int32)
        translate(self.decoder.claims.table, self.decoder.patients.table, codes)
        return rows._replace(claim=codes[rows.claim])

    def _admit(self, columns: Columns, arrived_ms: I64, rows: Rows, pairings: Intervals) -> U8:
        outcome = np.zeros(len(rows.device), np.uint8)
        admit(
            rows, Appended(columns.offsets, arrived_ms), self._limits, self.vitals.unit_columns, self.vitals.columns,
            pairings, self.store.devices, self.store.series, self.store.pool, outcome,
        )  # fmt: skip
        return outcome

    def _note_reopened(self, columns: Columns, rows: Rows, outcome: U8) -> None:
        """Remember readings in open windows that an earlier run quarantined."""
        if not self._replay.has_quarantined():
            return
        opened = np.flatnonzero(outcome == OPENED)
        before = self._replay.were_quarantined(columns.offsets[rows.batch_index[opened]], rows.frame_index[opened])
        for i in opened[before].tolist():
            tenant_id, device_id = self.decoder.devices.name(int(rows.device[i]))
            vital = self.vitals.names[int(self.vitals.unit_columns.vital[rows.pair[i]])]
            coordinates = int(columns.offsets[rows.batch_index[i]]), int(rows.frame_index[i])
            self._replay.reopen(tenant_id, device_id, vital, coordinates)

    def _result(self, columns: Columns, rows: Rows, outcome: U8, invalid: list[InvalidRow]) -> Ingested:
        result = Ingested(int((outcome == OPENED).sum()), int((outcome == ALREADY_PROCESSED).sum()))
        quarantined = np.flatnonzero(outcome > ALREADY_PROCESSED).tolist()
        late = np.flatnonzero(outcome == LATE).tolist()
        # Once per record, not per measurement: a frame may hold thousands of both.
        texts = {
            batch_index: self.decoder.texts(columns.values[batch_index])
            for batch_index in {int(rows.batch_index[i]) for i in quarantined + late}
        }
        for i in quarantined:
            result.quarantined.append(self._quarantined(columns, rows, i, REASONS[int(outcome[i])], texts))
        for i in late:
            result.late.append(self._quarantined(columns, rows, i, LATE_REASON, texts))
        result.quarantined += [_invalid_reading(columns, row) for row in invalid]
        for readings in (result.quarantined, result.late):
            new = self._replay.without_processed(readings)
            result.already_processed += len(readings) - len(new)
            readings[:] = new
        return result

    def _quarantined(
        self, columns: Columns, rows: Rows, i: int, reason: Reason | str, texts: Mapping[int, list[bytes]]
    ) -> QuarantinedReading:
        batch_index, frame_index = int(rows.batch_index[i]), int(rows.frame_index[i])
        tenant_id, device_id = self.decoder.devices.name(int(rows.device[i]))
        offset, arrived_ms = int(columns.offsets[batch_index]), int(columns.arrivals_ms[batch_index])
        text = texts[batch_index][frame_index]
        return QuarantinedReading(reason, tenant_id, device_id, offset, frame_index, arrived_ms, text)

    def close(self, arrival_ms: int | None = None) -> Closed:
        """Close what is due by event time, or by the arrival clock (given when the partition is silent), up to a bound."""
        if self.position is None:
            return Closed()
        quarantined = self._reassign()
        # No window may close while a corrected device waits: its readings could still be another patient's.
        if self._pairings.corrected:
            return Closed(quarantined=quarantined, more=True)
        clock = self.arrival_ms if arrival_ms is None else max(arrival_ms, self.arrival_ms)
        closed = self._emitter.close_due(
            clock, self.position, self.store, self.decoder, self.published, self._replay
        )  # fmt: skip
        if self._replay.has_reopened():
            self._replay.forget_reopened(self.settled() or 0)
        quarantined += closed.quarantined
        return Closed(closed.windows, quarantined, closed.devices, self._progress(self.position), closed.more)

    def _reassign(self) -> list[QuarantinedRow]:
        """Open readings that leave because their device's pairing was corrected; only some of them if very many do."""
        if not self._pairings.corrected:
            return []
        devices = sorted(self._pairings.corrected)
        done, quarantined = self._emitter.reassign(devices, self._pairings.intervals, self.store, self.decoder)
        self._pairings.corrected.difference_update(devices[:done])
        return quarantined

    def _progress(self, position: int) -> PartitionProgress:
        settled, arrived_ms = self.store.first_open() or (position, self.arrival_ms)
        return PartitionProgress(
            partition=self.partition,
            position=position,
            settled=settled,
            open_readings=self.store.open_rows,
            arrival_ms=self.arrival_ms,
            settled_arrival_ms=arrived_ms,
        )

    def settled(self) -> int | None:
        """The offset to commit: the first that an open window needs, else the next to read; None before the first record."""
        first = self.store.first_open()
        return self.position if first is None else first[0]


def _invalid_reading(columns: Columns, row: InvalidRow) -> QuarantinedReading:
    offset, arrived_ms = int(columns.offsets[row.batch_index]), int(columns.arrivals_ms[row.batch_index])
    return QuarantinedReading(row.reason, row.tenant_id, row.device_id, offset, row.frame_index, arrived_ms, row.text)
