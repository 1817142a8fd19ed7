"""Parses Kafka's record batches so that no bytes can stop a worker and no compression can exhaust its memory.

The client's parser reads valid batches. Batches that it cannot read are parsed again here, record by record, so that only
invalid records are quarantined. Format: https://kafka.apache.org/documentation/#recordbatch
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.util import decode_varint_py as decode_varint

from schemas.reasons import Reason
from streams.runtime.batches import UnreadableRecords, headers_bytes
from streams.runtime.bounded_parsing import Piece, TooManyHeaders, after, check_headers, parsed, pieces
from streams.runtime.decompression import BROKEN_COMPRESSION, Decompressor, TooLong

KEPT_BYTES = 2 * 1024 * 1024
"""So much is kept of bytes that cannot be parsed; a batch is hardly ever longer."""

_HEADER = struct.Struct(">qiibIhiqqqhii")
_LENGTH = struct.Struct(">qi")
_ATTRIBUTES_AT = struct.calcsize(">qiibI")
_SMALLEST = struct.calcsize(">qiib")
_MAGIC = 2
_CODEC, _LOG_APPEND_TIME, _TRANSACTIONAL, _CONTROL = 0x07, 0x08, 0x10, 0x20

Broken = (CorruptRecordException, UnicodeDecodeError, IndexError, ValueError, struct.error)
"""What the client's parser raises for bytes it cannot read."""


class Limits(NamedTuple):
    """The maximum size of a record, and of a decompressed batch."""

    record_bytes: int
    batch_bytes: int


class Raw(NamedTuple):
    """One batch as it was fetched, and the offset of the next one, if any."""

    data: memoryview
    following: int | None


class RawBatches:
    """The batches of one fetch, separated but not parsed. Replaces the client's class."""

    def __init__(self, fetched: bytes) -> None:
        self._size = len(fetched)
        self._cuts = list(_cut(memoryview(fetched)))

    def size_in_bytes(self) -> int:
        """Of the whole fetch."""
        return self._size

    def has_next(self) -> bool:
        """Whether there is a whole batch."""
        return bool(self._cuts)

    def __iter__(self) -> Iterator[Raw]:
        starts: list[int | None] = [_LENGTH.unpack_from(cut)[0] for cut in self._cuts[1:]]
        return map(Raw, self._cuts, [*starts, None])


def _cut(fetched: memoryview) -> Iterator[memoryview]:
    at = 0
    while len(fetched) - at >= _LENGTH.size:
        length = _LENGTH.unpack_from(fetched, at)[1]
        if length < _SMALLEST - _LENGTH.size:  # not a length: the beginning of the next batch is unknown
            yield fetched[at:]
            return
        end = at + _LENGTH.size + length
        if end > len(fetched):
            return  # cut off by the size of the fetch; asked for again
        yield fetched[at:end]
        at = end


class Sealed(NamedTuple):
    """A batch with a valid header: its attributes and its end. It is dense if no record was compacted away."""

    data: memoryview
    base_offset: int
    next_offset: int
    is_dense: bool
    attributes: int
    producer_id: int
    first_time_ms: int
    append_time_ms: int | None
    raw: Raw
    records: int

    @property
    def is_transactional(self) -> bool:
        """Whether its records count only if their transaction is committed."""
        return bool(self.attributes & _TRANSACTIONAL)

    @property
    def is_control(self) -> bool:
        """Whether it contains the marker of a transaction's end instead of records."""
        return bool(self.attributes & _CONTROL)


class Opened(NamedTuple):
    """The records of a batch, uncompressed: its header with them, and they alone."""

    sealed: Sealed
    data: memoryview
    body: memoryview

    @property
    def _is_parsed_whole(self) -> bool:
        return Piece(self.body, self.sealed.records).has_few_headers

    def begin(self, position: int) -> int:
        """The offset of the first of `records`: the client's parser skips no record unparsed, so only a long batch is cut."""
        skips = self.sealed.is_dense and not self._is_parsed_whole
        return max(self.sealed.base_offset, position) if skips else self.sealed.base_offset

    def records(self, position: int) -> Iterator[Any]:
        """The client's records, none parsed that has too many headers: it raises one of `Broken`."""
        if self._is_parsed_whole:
            return iter(DefaultRecordBatch(self.data))
        return self._in_pieces(self.begin(position) - self.sealed.base_offset)

    def _in_pieces(self, skipped: int) -> Iterator[Any]:
        left = self.sealed.records - skipped
        for piece in pieces(after(self.body, skipped)):
            left -= piece.records
            if left < 0:
                break
            yield from parsed(self.data, piece)
        if left:
            raise CorruptRecordException


class Opener:
    """Decompresses batches within the limits."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._decompressor = Decompressor(limits.batch_bytes)

    def sealed(self, raw: Raw, position: int) -> Sealed | UnreadableRecords:
        """The batch unopened, or what to quarantine of it if its header is invalid."""
        data = raw.data
        if len(data) < _HEADER.size or data[_SMALLEST - 1] != _MAGIC:
            return _whole(raw, position, None, Reason.UNREADABLE)
        base, _, _, _, _, attributes, delta, first_ms, max_ms, producer_id, _, _, count = _HEADER.unpack_from(data)
        if not DefaultRecordBatch(data).validate_crc():
            return _whole(raw, position, base + delta if 0 < delta + 1 == count else None, Reason.UNREADABLE)
        if delta < 0 or delta + 1 < count:
            return _whole(raw, position, None, Reason.UNREADABLE)
        append_ms = max_ms if attributes & _LOG_APPEND_TIME else None
        return Sealed(
            data, base, base + delta + 1, delta + 1 == count, attributes, producer_id, first_ms, append_ms, raw, count
        )

    def opened(self, sealed: Sealed, position: int) -> Opened | UnreadableRecords:
        """The batch with its records uncompressed, or what to quarantine of it if it cannot be opened."""
        codec = sealed.attributes & _CODEC
        if not codec:
            return Opened(sealed, sealed.data, sealed.data[_HEADER.size :])
        try:
            body = self._decompressor.opened(codec, sealed.data[_HEADER.size :])
        except TooLong:
            return _whole(sealed.raw, position, sealed.next_offset - 1, Reason.OVERSIZED, sealed.append_time_ms or 0)
        except BROKEN_COMPRESSION:
            return _whole(sealed.raw, position, sealed.next_offset - 1, Reason.UNREADABLE, sealed.append_time_ms or 0)
        # a copy: the room is used again for the next batch, while these records may still be asked for
        whole = memoryview(_uncompressed_header(sealed.data, sealed.attributes) + bytes(body))
        return Opened(sealed, whole, whole[_HEADER.size :])


def _uncompressed_header(data: memoryview, attributes: int) -> bytes:
    header = bytearray(data[: _HEADER.size])
    struct.pack_into(">h", header, _ATTRIBUTES_AT, attributes & ~_CODEC)
    return bytes(header)


def _whole(raw: Raw, position: int, last: int | None, reason: Reason, at_ms: int = 0) -> UnreadableRecords:
    """The batch quarantined as one. If its end is unknown, it ends before the next batch, or after one offset."""
    first = max(position, _LENGTH.unpack_from(raw.data)[0])
    if last is None:
        last = first if raw.following is None else raw.following - 1
    return UnreadableRecords(first, max(first, last), at_ms, reason, None, bytes(raw.data[:KEPT_BYTES]), len(raw.data))


class Read(NamedTuple):
    """A record that was parsed here, with those attributes of the client's record that are used."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


def one_by_one(opened: Opened, position: int) -> Iterator[Read | UnreadableRecords]:
    """The records from `position` on, with invalid ones as UnreadableRecords; if some are missing, the rest as one of them."""
    body, at, offset, end = opened.body, 0, opened.sealed.base_offset, opened.sealed.next_offset
    if not opened.sealed.is_dense:
        if position < end:
            yield _unreadable(bytes(body), position, end - 1, opened.sealed, None)
        return
    while offset < end and at < len(body):
        try:
            length, begin = decode_varint(body, at)
            if not 0 <= length <= len(body) - begin:
                raise ValueError("no length of a record")
        except Broken:
            break
        text = bytes(body[begin : begin + length])
        if offset >= position:
            yield _read(text, offset, opened.sealed)
        at, offset = begin + length, offset + 1
    if max(offset, position) < end:  # the end of a record is unknown: the rest is one
        yield _unreadable(bytes(body[at:]), max(offset, position), end - 1, opened.sealed, None)


def _read(text: bytes, offset: int, sealed: Sealed) -> Read | UnreadableRecords:
    key: bytes | None = None
    try:
        later_ms, at = decode_varint(text, 1)
        delta, at = decode_varint(text, at)
        key, at = _bytes(text, at)
        value, at = _bytes(text, at)
        count, at = decode_varint(text, at)
        check_headers(count)
        headers: list[tuple[str, bytes | None]] = []
        for _ in range(count):
            name, at = _bytes(text, at)
            content, at = _bytes(text, at)
            headers.append(((name or b"").decode(), content))
        if at != len(text) or count < 0 or delta != offset - sealed.base_offset:
            raise ValueError("not as long, or not where it says")
    except TooManyHeaders:
        return _unreadable(text, offset, offset, sealed, key, Reason.OVERSIZED)
    except Broken:
        return _unreadable(text, offset, offset, sealed, key)
    stamp = sealed.first_time_ms + later_ms if sealed.append_time_ms is None else sealed.append_time_ms
    return Read(offset, stamp, int(sealed.append_time_ms is not None), key, value, tuple(headers))


def _bytes(text: bytes, at: int) -> tuple[bytes | None, int]:
    length, at = decode_varint(text, at)
    if length < 0:
        return None, at
    if length > len(text) - at:
        raise ValueError("longer than what is left")
    return text[at : at + length], at + length


def _unreadable(
    text: bytes, first: int, last: int, sealed: Sealed, key: bytes | None, reason: Reason = Reason.UNREADABLE
) -> UnreadableRecords:
    at_ms = sealed.first_time_ms if sealed.append_time_ms is None else sealed.append_time_ms
    return UnreadableRecords(first, last, at_ms, reason, key, text[:KEPT_BYTES], len(text))


def oversized(record: Any, most_bytes: int) -> UnreadableRecords | None:
    """What to quarantine of a record that exceeds the limit with its key and headers; None if it does not."""
    value = record.value or b""
    size = len(value) + len(record.key or b"") + headers_bytes(record.headers)
    if size <= most_bytes:
        return None
    return UnreadableRecords(
        record.offset, record.offset, record.timestamp, Reason.OVERSIZED, record.key, value[:KEPT_BYTES], size
    )
