"""Parses a batch in bounded steps, whatever its records contain: a header of two bytes becomes an object.

A record may have `MOST_HEADERS` headers; a record with more is rejected without parsing. Other records are parsed in steps
that do not block the event loop for long.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.util import decode_varint_py as decode_varint

MOST_HEADERS = 1_000
"""Per record; producers send a few."""
MOST_HEADERS_AT_ONCE = 200_000
"""Per turn, over all partitions: about 20 ms of the client's parser."""
PARSED_IN_PYTHON = 10
"""A header costs so many times as much where the client's compiled parser is not used."""
PIECE_BYTES = 1 << 20
"""The size of one step of the client's parser: the headers that fit into it take about 50 ms."""

_HEADER_BYTES = struct.calcsize(">qiibIhiqqqhii")
_COUNT = struct.Struct(">i")


class TooManyHeaders(ValueError):
    """A record has more headers than are parsed."""


def check_headers(count: int) -> None:
    """Raises TooManyHeaders if a record exceeds `MOST_HEADERS`."""
    if count > MOST_HEADERS:
        raise TooManyHeaders


class Piece(NamedTuple):
    """As many whole records of a batch as fit; a record that is too long for a piece gets its own."""

    body: memoryview
    records: int

    @property
    def has_few_headers(self) -> bool:
        """Whether the batch and its records are short: no piece of it can contain very many headers."""
        return len(self.body) <= min(PIECE_BYTES, self.records * 2 * MOST_HEADERS)


def pieces(body: memoryview) -> Iterator[Piece]:
    """The records of a batch, split by their declared lengths."""
    begin, records, at = 0, 0, 0
    while at < len(body):
        end = _end(body, at)
        if records and end - begin > PIECE_BYTES:
            yield Piece(body[begin:at], records)
            begin, records = at, 0
        records, at = records + 1, end
    yield Piece(body[begin:], records)


def after(body: memoryview, records: int) -> memoryview:
    """The batch without its first `count` records."""
    at = 0
    for _ in range(records):
        at = _end(body, at)
    return body[at:]


def _end(body: memoryview, at: int) -> int:
    length, begin = decode_varint(body, at)
    if not 0 <= length <= len(body) - begin:
        raise ValueError("no length of a record")
    return int(begin + length)


def parsed(header: memoryview, piece: Piece) -> Iterator[Any]:
    """The client's records of a piece, under the header of its batch."""
    batch = bytearray(header[:_HEADER_BYTES])
    _COUNT.pack_into(batch, _HEADER_BYTES - _COUNT.size, piece.records)
    records = iter(DefaultRecordBatch(bytes(batch) + bytes(piece.body)))
    return records if piece.has_few_headers else headers_counted(records, piece.body)


def headers_counted(records: Iterator[Any], body: memoryview) -> Iterator[Any]:
    """The client's records, each parsed only after its headers were counted in the bytes of the batch."""
    at = 0
    while True:
        if at < len(body):
            length, begin = decode_varint(body, at)
            check_headers(_header_count(body, begin))
            at = begin + length
        record = next(records, None)  # the client raises where one does not end where it says
        if record is None:
            return
        yield record


def _header_count(body: memoryview, at: int) -> int:
    at += 1  # attributes
    for _ in range(2):  # timestamp and offset
        _, at = decode_varint(body, at)
    for _ in range(2):  # key and value
        length, at = decode_varint(body, at)
        at += max(0, length)
    return int(decode_varint(body, at)[0])
