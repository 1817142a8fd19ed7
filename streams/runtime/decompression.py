"""Decompression into a buffer of fixed size, because a few kilobytes can decompress to gigabytes."""

from __future__ import annotations

import struct
import zlib

import cramjam

GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
_XERIAL = b"\x82SNAPPY\x00"
_XERIAL_HEADER_BYTES = 16

MOST_MEMBERS = 100
"""Per gzip batch; producers write one. Each costs a copy of everything after it."""
MOST_BLOCKS = 10_000
"""Per Snappy batch; the smallest block that a Java producer writes is 1 KiB."""

BROKEN_COMPRESSION = (cramjam.DecompressionError, zlib.error, struct.error, ValueError)


class TooLong(Exception):
    """It exceeds a limit: too many bytes, or too many parts, which cost time even if they are empty."""


class Decompressor:
    """Kafka's codecs, with a limit on the decompressed size."""

    def __init__(self, most_bytes: int) -> None:
        self._buffer = memoryview(bytearray(most_bytes))

    def opened(self, codec: int, body: memoryview) -> memoryview:
        """The decompressed bytes, in a buffer that the next call overwrites."""
        if codec == GZIP:
            return _gunzipped(body, len(self._buffer))
        if codec == SNAPPY:
            return self._buffer[: self._unsnapped(body)]
        if codec not in {LZ4, ZSTD}:
            raise ValueError("unknown codec")
        into = cramjam.lz4.decompress_into if codec == LZ4 else cramjam.zstd.decompress_into
        try:
            size = into(body, self._buffer)
        except cramjam.DecompressionError as error:
            if "write whole buffer" in str(error):  # the buffer is full
                raise TooLong from None
            raise
        return self._buffer[:size]

    def _unsnapped(self, body: memoryview) -> int:
        """Plain Snappy, or the blocks of xerial's framing that Java's producers write."""
        if bytes(body[: len(_XERIAL)]) != _XERIAL:
            return self._unsnapped_block(body, 0)
        at, size, blocks = _XERIAL_HEADER_BYTES, 0, 0
        while at < len(body):
            blocks += 1
            if blocks > MOST_BLOCKS:
                raise TooLong
            (length,) = struct.unpack_from(">i", body, at)
            at += 4
            if not 0 < length <= len(body) - at:
                raise ValueError("no length of a block")
            size += self._unsnapped_block(body[at : at + length], size)
            at += length
        return size

    def _unsnapped_block(self, block: memoryview, at: int) -> int:
        if at + int(cramjam.snappy.decompress_raw_len(block)) > len(self._buffer):
            raise TooLong
        return int(cramjam.snappy.decompress_raw_into(block, self._buffer[at:]))


def _gunzipped(body: memoryview, most_bytes: int) -> memoryview:
    parts: list[bytes] = []
    rest, room = bytes(body), most_bytes
    while rest:
        member = zlib.decompressobj(31)
        parts.append(member.decompress(rest, room + 1))
        room -= len(parts[-1])
        if room < 0 or len(parts) > MOST_MEMBERS:
            raise TooLong
        if not member.eof:
            raise ValueError("cut off")
        rest = member.unused_data
    return memoryview(b"".join(parts))
