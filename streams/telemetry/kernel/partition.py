"""The kernel of one partition: records in; windows, refusals and the settled offset out. Deterministic and pure."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from schemas.progress import DeviceProgress, PartitionProgress
from schemas.reasons import LATE as LATE_REASON
from schemas.reasons import Reason
from schemas.reference import Pairing
from streams.runtime.batches import Record
from streams.runtime.columns import Columns, columns_of
from streams.telemetry.kernel import admit as fates
from streams.telemetry.kernel.admit import NO_CLAIM, Incoming, Limits, admit
from streams.telemetry.kernel.arrival import ArrivalClock
from streams.telemetry.kernel.compiled import I64, U8
from streams.telemetry.kernel.decode import Decoder, Rows, Unreadable
from streams.telemetry.kernel.forgetting import Forgetting
from streams.telemetry.kernel.interning import translate
from streams.telemetry.kernel.pairings import DevicePairings, Intervals
from streams.telemetry.kernel.replay import Replay
from streams.telemetry.kernel.store import Store
from streams.telemetry.kernel.vital_table import VitalTable
from streams.telemetry.kernel.window_emitter import ClosedWindow, WindowEmitter, Withdrawal
from streams.telemetry.publishing import Published


class Aside(NamedTuple):
    """A reading kept but not charted: why, whose, where it stands in the log, and its bytes."""

    reason: Reason | str
    tenant_id: str | None
    device_id: str | None
    offset: int
    place: int
    arrived_ms: int
    text: bytes


@dataclass(slots=True)
class Ingested:
    """What became of a batch at once. Readings opened come out of `close` later. `more`: take the same batch again."""

    opened: int = 0
    settled_before: int = 0
    more: bool = False
    rejected: list[Aside] = field(default_factory=list)
    late: list[Aside] = field(default_factory=list)


@dataclass(slots=True)
class Closed:
    """A closing pass: windows in the order in which a stream's windows follow each other, and open readings that leave.

    The progress is true once windows and refusals are confirmed. `more` says that another pass has work already.
    """

    windows: list[ClosedWindow] = field(default_factory=list)
    withdrawn: list[Withdrawal] = field(default_factory=list)
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
        self.knows_set_aside = False
        self._clock = ArrivalClock()
        self._replay = Replay()
        self._pass = WindowEmitter(topic, partition, vitals, identity_key)
        self._pairings = DevicePairings()
        self._forgetting = Forgetting()
        telemetry = vitals.config.telemetry
        self._limits = Limits(telemetry.clock_ahead, telemetry.max_age)

    @property
    def arrival_ms(self) -> int:
        """The partition's arrival clock: the latest append time so far."""
        return self._clock.now_ms

    def restore(self, devices: Iterable[DeviceProgress], partition: PartitionProgress | None) -> None:
        """Take up where an earlier run is known to have been: what it closed is not closed again."""
        devices = list(devices)
        self._replay.restore(devices, partition.position if partition else 0)
        if partition and partition.settled_arrival_ms is not None:
            self._clock.restore(partition.settled, partition.settled_arrival_ms)
        for progress in devices:
            code = self.decoder.devices.code(progress.tenant_id, progress.device_id)
            self.store.reserve(code + 1, 0)
            self.store.devices.watermark[code] = progress.watermark_ms
            self.store.devices.judged[code] = progress.offset
            for name, stream in progress.streams.items():
                if name not in self.vitals.index:
                    continue
                at = code * len(self.vitals.names) + self.vitals.index[name]
                self.store.streams.closed_through[at] = stream.closed_through_ms
                self.store.streams.told_through[at] = stream.closed_through_ms
                if stream.patient_id is not None:
                    self.published[at] = Published(
                        stream.patient_id, stream.published_slot, stream.published_value, stream.outside
                    )

    @property
    def judged_position(self) -> int:
        """The offset before which an earlier run judged everything."""
        return self._replay.judged_position

    def restore_set_aside(self, places: array[int]) -> None:
        """Offset and place in turn of all that earlier runs set aside of the records from the first one that comes on."""
        self._replay.restore_set_aside(places)
        self.knows_set_aside = True

    def ingest(
        self, records: Sequence[Record] | Columns, pairings: Mapping[tuple[str, str], Pairing], pairings_version: int
    ) -> Ingested:
        """Judge every reading of the batch, or of its first records where they are very many: then there is `more`.

        Records before `position` were judged in this run already and are passed over.
        """
        columns = records if isinstance(records, Columns) else columns_of(records)
        if self.position is not None:
            columns = columns.after(self.position)
        if not columns.values:
            return Ingested()
        rows, unreadable, taken = self.decoder.decode(columns.values)
        more, columns = taken < len(columns.values), columns.first(taken)
        self.store.reserve(len(self.decoder.devices), len(rows.record))
        arrived_ms = self._clock.advance(columns.offsets, columns.arrivals_ms)
        known = self.learn(pairings, pairings_version)
        fate = self._admit(columns, arrived_ms, self._claimed(rows), known)
        self.position = int(columns.offsets[-1]) + 1
        self._remember_opened(columns, rows, fate)
        result = self._sorted_out(columns, rows, fate, unreadable)
        self._replay.passed(self.position)
        if self._forgetting.needed(self.decoder):
            self.published = self._forgetting.forget(self.decoder, self.store, self._pairings, self.published)
        result.more = more
        return result

    def _claimed(self, rows: Rows) -> Rows:
        """With the patients that the readings name themselves by the codes of the patients known from pairings."""
        if not len(self.decoder.claims):
            return rows
        codes = np.full(len(self.decoder.claims) + 1, NO_CLAIM, np.int32)  # the last for those who name nobody
        translate(self.decoder.claims.table, self.decoder.patients.table, codes)
        return replace(rows, claim=codes[rows.claim])

    def _remember_opened(self, columns: Columns, rows: Rows, fate: U8) -> None:
        """Readings in open windows that an earlier run had set aside."""
        if not self._replay.knows_set_aside():
            return
        opened = np.flatnonzero(fate == fates.OPENED)
        before = self._replay.set_aside_before(columns.offsets[rows.record[opened]], rows.index[opened])
        for at in opened[before].tolist():
            tenant_id, device_id = self.decoder.devices.name(int(rows.device[at]))
            vital = self.vitals.names[int(self.vitals.unit_columns.vital[rows.pair[at]])]
            place = int(columns.offsets[rows.record[at]]), int(rows.index[at])
            self._replay.opened(tenant_id, device_id, vital, place)

    def pass_over(self, position: int) -> None:
        """Nothing before this offset is left to be judged, also where no record stands there."""
        self.position = max(self.position or 0, position)
        self._clock.reach(self.position)

    def learn(self, pairings: Mapping[tuple[str, str], Pairing], version: int) -> Intervals:
        """Take these pairings for the newest known. Open readings of a corrected device are joined again as they close."""
        return self._pairings.learn(pairings, version, self.decoder.devices, self.decoder.patients)

    def _admit(self, columns: Columns, arrived_ms: I64, rows: Rows, pairings: Intervals) -> U8:
        fate = np.zeros(len(rows.record), np.uint8)
        incoming = Incoming(
            columns.offsets[rows.record], arrived_ms[rows.record], rows.index, rows.device, rows.claim, rows.pair,
            rows.value_micro, rows.time_ms, rows.seq,
        )  # fmt: skip
        admit(
            incoming, self._limits, self.vitals.unit_columns, self.vitals.columns, pairings,
            self.store.devices, self.store.streams, self.store.rows, fate,
        )  # fmt: skip
        return fate

    def _sorted_out(self, columns: Columns, rows: Rows, fate: U8, unreadable: list[Unreadable]) -> Ingested:
        result = Ingested(int((fate == fates.OPENED).sum()), int((fate == fates.SETTLED_BEFORE).sum()))
        refused, late = (
            np.flatnonzero(fate > fates.SETTLED_BEFORE).tolist(),
            np.flatnonzero(fate == fates.LATE).tolist(),
        )
        # once a record, not once a measurement: a frame may hold thousands of both
        texts = {
            place: self.decoder.texts(columns.values[place])
            for place in {int(rows.record[at]) for at in refused + late}
        }
        for at in refused:
            result.rejected.append(self._aside(columns, rows, at, fates.REASONS[int(fate[at])], texts))
        for at in late:
            result.late.append(self._aside(columns, rows, at, LATE_REASON, texts))
        for u in unreadable:
            offset, arrived_ms = int(columns.offsets[u.record]), int(columns.arrivals_ms[u.record])
            result.rejected.append(Aside(u.reason, u.tenant_id, u.device_id, offset, u.index, arrived_ms, u.text))
        for asides in (result.rejected, result.late):
            told = self._replay.untold(asides)
            result.settled_before += len(asides) - len(told)
            asides[:] = told
        return result

    def _aside(
        self, columns: Columns, rows: Rows, at: int, reason: Reason | str, texts: Mapping[int, list[bytes]]
    ) -> Aside:
        place, index = int(rows.record[at]), int(rows.index[at])
        tenant_id, device_id = self.decoder.devices.name(int(rows.device[at]))
        offset, arrived_ms = int(columns.offsets[place]), int(columns.arrivals_ms[place])
        return Aside(reason, tenant_id, device_id, offset, index, arrived_ms, texts[place][index])

    def close(self, arrival_ms: int | None = None) -> Closed:
        """Close what is due by event time, or by the arrival clock (given when the partition is silent), up to a bound."""
        if self.position is None:
            return Closed()
        withdrawn = self._rejoined()
        if self._pairings.corrected:
            return Closed(withdrawn=withdrawn, more=True)
        clock = self.arrival_ms if arrival_ms is None else max(arrival_ms, self.arrival_ms)
        passed = self._pass.run(clock, self.position, self.store, self.decoder, self.published, self._replay)
        if self._replay.any_opened():
            self._replay.settled(self.settled() or 0)
        withdrawn += passed.withdrawn
        return Closed(passed.windows, withdrawn, passed.devices, self._progress(self.position), passed.more)

    def _rejoined(self) -> list[Withdrawal]:
        """Readings that leave because their device's pairing was corrected: some of them, while many wait."""
        if not self._pairings.corrected:
            return []
        devices = sorted(self._pairings.corrected)
        done, withdrawn = self._pass.rejoin(devices, self._pairings.intervals, self.store, self.decoder)
        self._pairings.corrected.difference_update(devices[:done])
        return withdrawn

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
