"""A batch of raw records to columns: the scanner takes the plain ones, `wire` reads the rest; both in log order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from schemas.reasons import Reason
from streams.telemetry.kernel import reading_json
from streams.telemetry.kernel.compiled import I16, I32, I64
from streams.telemetry.kernel.fast_json import FIELDS, NO_SEQ, Scanned, scan
from streams.telemetry.kernel.interning import Interner
from streams.telemetry.kernel.vital_table import VitalTable

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


MOST_BYTES = 4 << 20
MOST_READ = 10_000
"""Of one call, so that it holds nobody up for long: bytes, and measurements that the quick scanner does not take."""


class Decoder:
    """Decodes for one partition: devices and patients get their codes here.

    `claims` are the patients that the last batch's readings name themselves. They may be invented: they are kept no longer.
    """

    def __init__(self, vitals: VitalTable) -> None:
        self.vitals = vitals
        self.devices = Interner()
        self.patients = Interner()
        self.claims = Interner()

    def decode(self, values: Sequence[bytes | None]) -> tuple[Rows, list[Unreadable], int]:
        """Every measurement of the batch's first records, as a row or as unreadable, and how many records those are."""
        if len(self.claims):
            self.claims = Interner()
        texts = [value or b"" for value in values]
        ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))
        at_once = max(1, int(np.searchsorted(ends, MOST_BYTES, "right")))
        scanned = self._scan(texts[:at_once], ends[:at_once])
        left = np.flatnonzero(scanned.taken == 0)
        more, unreadable, through = self._read(texts, left.tolist(), at_once)
        taken = np.flatnonzero(scanned.taken[:through])
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
        return (_in_log_order(rows, more) if len(left) else rows), unreadable, through

    @staticmethod
    def texts(value: bytes | None) -> list[bytes]:
        """The bytes of each measurement of a record: of the whole record, or of the elements of its frame."""
        if value is None or (b"readings" not in value and b"\\u" not in value):
            return [value or b""]
        return [text for _, text, _ in reading_json.read(value)]

    def _scan(self, texts: Sequence[bytes], ends: I64) -> Scanned:
        n = len(texts)
        starts = np.zeros(n, np.int64)
        starts[1:] = ends[:-1]
        buffer = np.frombuffer(b"".join(texts) + _DEFAULT_TENANT, np.uint8)
        self.devices.reserve(n, len(buffer) + n * len(_DEFAULT_TENANT))
        self.claims.reserve(n, len(buffer))
        out = Scanned(
            np.zeros(n, np.uint8), np.zeros(n, np.int32), np.zeros(n, np.int32), np.zeros(n, np.int16),
            np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64),
        )  # fmt: skip
        scan(
            buffer, starts, ends, np.zeros(2 * FIELDS, np.int64), np.zeros(3, np.int64),
            self.devices.table, self.claims.table, self.vitals.pairs.table, out,
        )  # fmt: skip
        return out

    def _read(self, texts: Sequence[bytes], places: Sequence[int], through: int) -> tuple[Rows, list[Unreadable], int]:
        """The records at these places; where they hold very many measurements, `through` comes earlier."""
        rows: list[tuple[int, ...]] = []
        unreadable: list[Unreadable] = []
        for place in places:
            if len(rows) + len(unreadable) >= MOST_READ:
                through = place
                break
            for index, text, found in reading_json.read(texts[place]):
                pair = (
                    self.vitals.pair(found.type, found.unit)
                    if isinstance(found, reading_json.Measured)
                    else found.reason
                )
                if isinstance(found, reading_json.Refused) or isinstance(pair, Reason):
                    reason = pair if isinstance(pair, Reason) else Reason.MALFORMED
                    unreadable.append(Unreadable(place, index, reason, found.tenant_id, found.device_id, text))
                    continue
                rows.append(self._row(place, index, pair, found))
        c = np.array(rows, np.int64).reshape(len(rows), 8).T
        record, index, device, claim = (column.astype(np.int32) for column in c[:4])
        value, time, seq = (np.ascontiguousarray(column) for column in c[5:])
        return Rows(record, index, device, claim, c[4].astype(np.int16), value, time, seq), unreadable, through

    def _row(self, place: int, index: int, pair: int, m: reading_json.Measured) -> tuple[int, ...]:
        device = self.devices.code(m.tenant_id, m.device_id)
        claim = -1 if m.patient_id is None else self.claims.code("", m.patient_id)
        return (place, index, device, claim, pair, m.value_micro, m.time_ms, NO_SEQ if m.seq is None else m.seq)


def _in_log_order(first: Rows, second: Rows) -> Rows:
    order = np.argsort(np.concatenate((first.record, second.record)), kind="stable")
    names = Rows.__slots__
    return Rows(*(np.concatenate((getattr(first, name), getattr(second, name)))[order] for name in names))
