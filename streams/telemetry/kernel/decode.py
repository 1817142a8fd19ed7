"""A batch of raw records to rows: `fast_json` parses the plain ones, `reading_json` the rest; both in log order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from schemas.reasons import Reason
from streams.telemetry.kernel import reading_json
from streams.telemetry.kernel.compiled import I32, I64
from streams.telemetry.kernel.fast_json import FIELDS, parse
from streams.telemetry.kernel.interning import Interner
from streams.telemetry.kernel.reading_json import InvalidMeasurement, ParsedMeasurement
from streams.telemetry.kernel.rows import NO_CLAIM, NO_SEQ, Rows, empty_rows, merged
from streams.telemetry.kernel.vital_table import VitalTable

_DEFAULT_TENANT = b"default"


@dataclass(frozen=True, slots=True)
class InvalidRow:
    """A measurement that never became a row."""

    batch_index: int
    frame_index: int
    reason: Reason
    tenant_id: str | None
    device_id: str | None
    text: bytes


MAX_BYTES = 4 << 20
MAX_MEASUREMENTS = 10_000
"""Of one call, so that the event loop is not blocked for long: bytes, and measurements that `fast_json` leaves to Python."""


class Decoder:
    """Decodes for one partition: devices and patients get their codes here.

    `claims` are the patients that the last batch's readings name themselves. A sender may invent them without end, so they
    are forgotten with the next batch.
    """

    def __init__(self, vitals: VitalTable) -> None:
        self.vitals = vitals
        self.devices = Interner()
        self.patients = Interner()
        self.claims = Interner()

    def decode(self, values: Sequence[bytes | None]) -> tuple[Rows, list[InvalidRow], int]:
        """Every measurement of the batch's first records, as a row or as invalid, and how many records those are."""
        if len(self.claims):
            self.claims = Interner()
        texts = [value or b"" for value in values]
        ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))
        records = max(1, int(np.searchsorted(ends, MAX_BYTES, "right")))
        rows, rest = self._parse_fast(texts[:records], ends[:records])
        if not len(rest):
            return rows, [], records
        more, invalid, records = self._parse_rest(texts, rest.tolist(), records)
        # Records after the last one that was parsed come again with the next call, those of `fast_json` too.
        rows = rows.first(int(np.searchsorted(rows.batch_index, records)))
        return merged(rows, more), invalid, records

    @staticmethod
    def texts(value: bytes | None) -> list[bytes]:
        """The bytes of each measurement of a record: of the whole record, or of the elements of its frame."""
        if value is None or (b"readings" not in value and b"\\u" not in value):
            return [value or b""]
        return [text for _, text, _ in reading_json.parse(value)]

    def _parse_fast(self, texts: Sequence[bytes], ends: I64) -> tuple[Rows, I32]:
        """Rows of the plain records, and the indices of the others."""
        n = len(texts)
        starts = np.zeros(n, np.int64)
        starts[1:] = ends[:-1]
        buffer = np.frombuffer(b"".join(texts) + _DEFAULT_TENANT, np.uint8)
        self.devices.reserve(n, len(buffer) + n * len(_DEFAULT_TENANT))
        self.claims.reserve(n, len(buffer))
        rows, rest = empty_rows(n), np.zeros(n, np.int32)
        count = parse(
            buffer, starts, ends, np.zeros(2 * FIELDS, np.int64), np.zeros(3, np.int64),
            self.devices.table, self.claims.table, self.vitals.pairs.table, rows, rest,
        )  # fmt: skip
        return rows.first(count), rest[: n - count]

    def _parse_rest(
        self, texts: Sequence[bytes], batch_indices: Sequence[int], records: int
    ) -> tuple[Rows, list[InvalidRow], int]:
        """The records at these indices, or the first of them when they hold very many measurements: fewer `records` then."""
        rows: list[tuple[int, ...]] = []
        invalid: list[InvalidRow] = []
        for batch_index in batch_indices:
            if len(rows) + len(invalid) >= MAX_MEASUREMENTS:
                records = batch_index
                break
            for frame_index, text, parsed in reading_json.parse(texts[batch_index]):
                row = self._row(batch_index, frame_index, text, parsed)
                if isinstance(row, InvalidRow):
                    invalid.append(row)
                else:
                    rows.append(row)
        return _as_columns(rows), invalid, records

    def _row(
        self, batch_index: int, frame_index: int, text: bytes, parsed: ParsedMeasurement | InvalidMeasurement
    ) -> tuple[int, ...] | InvalidRow:
        pair = parsed.reason if isinstance(parsed, InvalidMeasurement) else self.vitals.pair(parsed.type, parsed.unit)
        if isinstance(parsed, InvalidMeasurement) or isinstance(pair, Reason):
            reason = pair if isinstance(pair, Reason) else Reason.MALFORMED
            return InvalidRow(batch_index, frame_index, reason, parsed.tenant_id, parsed.device_id, text)
        device = self.devices.code(parsed.tenant_id, parsed.device_id)
        claim = NO_CLAIM if parsed.patient_id is None else self.claims.code("", parsed.patient_id)
        seq = NO_SEQ if parsed.seq is None else parsed.seq
        return batch_index, frame_index, device, claim, pair, parsed.value_micro, parsed.time_ms, seq


def _as_columns(rows: list[tuple[int, ...]]) -> Rows:
    columns = np.array(rows, np.int64).reshape(len(rows), len(Rows._fields)).T
    pairs: Iterator[tuple[Any, Any]] = zip(columns, empty_rows(0), strict=True)
    return Rows._make(column.astype(blank.dtype) for column, blank in pairs)
