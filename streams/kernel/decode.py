"""A batch of raw records to columns: the scanner takes the plain ones, `wire` reads the rest; both in log order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from schemas.reasons import Reason
from streams.kernel import wire
from streams.kernel.compiled import I16, I32, I64
from streams.kernel.interning import Interner
from streams.kernel.scan import FIELDS, NO_SEQ, Scanned, scan
from streams.kernel.vital_table import VitalTable

_DEFAULT_TENANT = b"default"


@dataclass(frozen=True, slots=True)
class Rows:
    """Readings as columns, in log order. `record` is the place in the batch, `index` the place in a frame."""

    record: I32
    index: I32
    device: I32
    claim: I32
    pair: I16
    value_micro: I64
    time_ms: I64
    seq: I64


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A measurement that never became a row."""

    record: int
    index: int
    reason: Reason
    tenant_id: str | None
    device_id: str | None
    text: bytes


class Decoder:
    """Decodes for one partition: devices and patients get their codes here."""

    def __init__(self, vitals: VitalTable) -> None:
        self.vitals = vitals
        self.devices = Interner()
        self.patients = Interner()

    def decode(self, values: Sequence[bytes | None]) -> tuple[Rows, list[Unreadable]]:
        """Every measurement of the batch, as a row or as unreadable."""
        scanned = self._scan(values)
        left = np.flatnonzero(scanned.taken == 0)
        taken = np.flatnonzero(scanned.taken)
        rows = Rows(
            taken.astype(np.int32),
            np.zeros(len(taken), np.int32),
            scanned.device[taken],
            scanned.claim[taken],
            scanned.pair[taken],
            scanned.value_micro[taken],
            scanned.time_ms[taken],
            scanned.seq[taken],
        )
        if not len(left):
            return rows, []
        more, unreadable = self._read(values, left.tolist())
        return _in_log_order(rows, more), unreadable

    @staticmethod
    def texts(value: bytes | None) -> list[bytes]:
        """The bytes of each measurement of a record: of the whole record, or of the elements of its frame."""
        return [text for _, text, _ in wire.read(value)]

    def _scan(self, values: Sequence[bytes | None]) -> Scanned:
        texts = [value or b"" for value in values]
        n = len(texts)
        ends = np.cumsum(np.fromiter(map(len, texts), np.int64, n))
        starts = np.zeros(n, np.int64)
        starts[1:] = ends[:-1]
        buffer = np.frombuffer(b"".join(texts) + _DEFAULT_TENANT, np.uint8)
        self.devices.reserve(n, len(buffer) + n * len(_DEFAULT_TENANT))
        self.patients.reserve(n, len(buffer))
        out = Scanned(
            np.zeros(n, np.uint8), np.zeros(n, np.int32), np.zeros(n, np.int32), np.zeros(n, np.int16),
            np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64),
        )  # fmt: skip
        scan(
            buffer, starts, ends, np.zeros(2 * FIELDS, np.int64), np.zeros(3, np.int64),
            self.devices.table, self.patients.table, self.vitals.pairs.table, out,
        )  # fmt: skip
        return out

    def _read(self, values: Sequence[bytes | None], places: Sequence[int]) -> tuple[Rows, list[Unreadable]]:
        rows: list[tuple[int, ...]] = []
        unreadable: list[Unreadable] = []
        for place in places:
            for index, text, found in wire.read(values[place]):
                pair = self.vitals.pair(found.type, found.unit) if isinstance(found, wire.Measured) else found.reason
                if isinstance(found, wire.Refused) or isinstance(pair, Reason):
                    reason = pair if isinstance(pair, Reason) else Reason.MALFORMED
                    unreadable.append(Unreadable(place, index, reason, found.tenant_id, found.device_id, text))
                    continue
                rows.append(self._row(place, index, pair, found))
        c = np.array(rows, np.int64).reshape(len(rows), 8).T
        record, index, device, claim = (column.astype(np.int32) for column in c[:4])
        value, time, seq = (np.ascontiguousarray(column) for column in c[5:])
        return Rows(record, index, device, claim, c[4].astype(np.int16), value, time, seq), unreadable

    def _row(self, place: int, index: int, pair: int, m: wire.Measured) -> tuple[int, ...]:
        device = self.devices.code(m.tenant_id, m.device_id)
        claim = -1 if m.patient_id is None else self.patients.code("", m.patient_id)
        return (place, index, device, claim, pair, m.value_micro, m.time_ms, NO_SEQ if m.seq is None else m.seq)


def _in_log_order(first: Rows, second: Rows) -> Rows:
    order = np.argsort(np.concatenate((first.record, second.record)), kind="stable")
    names = Rows.__slots__
    return Rows(*(np.concatenate((getattr(first, name), getattr(second, name)))[order] for name in names))
