"""How much work a compressed batch may make: it is bounded by what is in it, and by of how many parts it is."""

from __future__ import annotations

import gzip
import struct
import zlib

import cramjam
import pytest

from streams.runtime.decompression import GZIP, MOST_BLOCKS, MOST_MEMBERS, SNAPPY, Decompressor, TooLong


def emptied() -> bytes:
    squeezed = zlib.compressobj(9, zlib.DEFLATED, 31)
    return squeezed.compress(b"") + squeezed.flush()


def framed(blocks: int) -> bytes:
    block = bytes(cramjam.snappy.compress_raw(b"x"))
    return b"\x82SNAPPY\x00" + bytes(8) + (struct.pack(">i", len(block)) + block) * blocks


def test_a_gzip_batch_of_very_many_empty_members_is_not_opened():
    body = emptied() * 50_000 + gzip.compress(b"x")

    with pytest.raises(TooLong):
        Decompressor(1 << 20).opened(GZIP, memoryview(body))


def test_a_gzip_batch_of_several_members_is_one():
    body = gzip.compress(b"x") * MOST_MEMBERS

    assert bytes(Decompressor(1 << 20).opened(GZIP, memoryview(body))) == b"x" * MOST_MEMBERS


def test_a_snappy_batch_of_very_many_blocks_is_not_opened():
    opener = Decompressor(1 << 20)

    assert bytes(opener.opened(SNAPPY, memoryview(framed(MOST_BLOCKS)))) == b"x" * MOST_BLOCKS
    with pytest.raises(TooLong):
        opener.opened(SNAPPY, memoryview(framed(MOST_BLOCKS + 1)))
