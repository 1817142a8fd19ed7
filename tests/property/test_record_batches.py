"""Record batches as hostile as they come: every record is read or quarantined at its place, and nothing is raised."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from unittest import mock

import cramjam
import pytest
from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from schemas.reasons import Reason
from streams.runtime import bounded_parsing, fetching
from streams.runtime.batches import UnreadableRecords
from streams.runtime.bounded_parsing import MOST_HEADERS, MOST_HEADERS_AT_ONCE, TooManyHeaders, headers_counted
from streams.runtime.fetching import Skipped, set_limits
from streams.runtime.record_batches import Limits, RawBatches
from tests.system.raw_batches import GZIP, LZ4, NO_CODEC, SNAPPY, ZSTD, batch, record, varint

AT = TopicPartition("telemetry.readings", 0)
TRANSACTIONAL, CONTROL = 0x10, 0x20
COMPRESSIONS: dict[str, tuple[int, Callable[[bytes], bytes]]] = {
    "none": (NO_CODEC, bytes),
    "gzip": (GZIP, gzip.compress),
    "snappy": (SNAPPY, lambda body: bytes(cramjam.snappy.compress_raw(body))),
    "lz4": (LZ4, lambda body: bytes(cramjam.lz4.compress(body))),
    "zstd": (ZSTD, lambda body: bytes(cramjam.zstd.compress(body))),
}
anyhow = pytest.mark.parametrize("codec", COMPRESSIONS)


def read(fetched: bytes, position: int = 0, aborted: list[tuple[int, int]] | None = None) -> list:
    """What comes of a fetch at this position."""
    made = fetching.fetcher.PartitionRecords(AT, RawBatches(fetched), aborted, position, None, None, True, 1)
    return list(made)


def packed(records: list[bytes], codec: str, **more: int) -> bytes:
    number, compress = COMPRESSIONS[codec]
    return batch(records, codec=number, compress=compress, **more)


def offsets(items: list) -> list[int]:
    return [
        n for i in items for n in range(i.first_offset if isinstance(i, UnreadableRecords) else i.offset, i.offset + 1)
    ]


@anyhow
def test_a_header_name_that_is_not_utf8_refuses_its_record_and_no_other(codec: str):
    bad = record(1, b"bad", b"key", [(b"\xff\xfe", b"x")])
    first, quarantined, last = read(packed([record(0, b"a"), bad, record(2, b"c", None, [(b"trace", b"1")])], codec))
    assert (first.value, last.value, last.offset) == (b"a", b"c", 2)
    assert (quarantined.reason, quarantined.offset, quarantined.key) == (Reason.UNREADABLE, 1, b"key")
    assert b"bad" in quarantined.raw
    assert b"\xff\xfe" in quarantined.raw


@anyhow
def test_valid_batches_are_read_as_the_client_reads_them(codec: str):
    items = read(packed([record(n, b"v%d" % n) for n in range(5)], codec) + batch([record(0, b"w")], base_offset=5), 2)
    assert [i.value for i in items] == [b"v2", b"v3", b"v4", b"w"]
    assert offsets(items) == [2, 3, 4, 5]


def test_a_wrong_checksum_refuses_the_batch_with_its_bytes():
    broken = bytearray(batch([record(0, b"a"), record(1, b"b")]))
    broken[-1] ^= 1
    quarantined, sound = read(bytes(broken) + batch([record(0, b"c")], base_offset=2))
    assert (quarantined.first_offset, quarantined.offset, quarantined.raw) == (0, 1, bytes(broken))
    assert sound.value == b"c"


def test_a_checksum_is_wrong_in_the_very_length_of_the_batch_and_no_record_after_it_is_skipped():
    broken = bytearray(batch([record(0, b"a"), record(1, b"b")]))
    broken[23] = 0x7F  # the last offset, far beyond what there is
    assert offsets(read(bytes(broken) + batch([record(0, b"c")], base_offset=2))) == [0, 1, 2]
    (alone,) = read(bytes(broken))
    assert (alone.first_offset, alone.offset) == (0, 0)


@pytest.mark.parametrize("magic", [0, 1, 3, 127])
def test_an_unknown_format_is_refused(magic: int):
    other = bytearray(batch([record(0, b"a")]))
    other[16] = magic
    quarantined, sound = read(bytes(other) + batch([record(0, b"c")], base_offset=1))
    assert (quarantined.reason, quarantined.offset, sound.offset) == (Reason.UNREADABLE, 0, 1)


@pytest.mark.parametrize("codec", [1, 2, 3, 4, 5, 7])
def test_compression_that_is_broken_or_unknown_refuses_the_batch(codec: int):
    quarantined, sound = read(
        batch([record(0, b"a"), record(1, b"b")], codec=codec) + batch([record(0, b"c")], base_offset=2)
    )
    assert (quarantined.reason, quarantined.first_offset, quarantined.offset) == (Reason.UNREADABLE, 0, 1)
    assert sound.value == b"c"


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_a_batch_that_opens_to_more_than_is_taken_stays_closed(codec: str):
    bomb = packed([record(0, b" " * (40 << 20))], codec)
    quarantined, sound = read(bomb + batch([record(0, b"c")], base_offset=1))
    assert (quarantined.reason, quarantined.whole_bytes) == (Reason.OVERSIZED, len(bomb))
    assert bomb.startswith(quarantined.raw)
    assert sound.value == b"c"


def test_a_record_that_is_too_long_is_refused_and_truncated():
    small, quarantined, last = read(
        packed([record(0, b"a"), record(1, b" " * (9 << 20), b"k"), record(2, b"c")], "lz4")
    )
    assert (quarantined.reason, quarantined.offset, quarantined.key, quarantined.whole_bytes) == (
        Reason.OVERSIZED,
        1,
        b"k",
        (9 << 20) + 1,
    )
    assert (small.value, last.value) == (b"a", b"c")


def test_many_bombs_in_one_fetch_are_opened_a_few_at_a_time():
    one = record(0, b" " * (7 << 20))
    fetched = b"".join(packed([one], "zstd", base_offset=n) for n in range(50))
    assert len(fetched) < 1 << 20
    items = read(fetched)
    assert len(items) <= fetching.MOST_DECODED_BYTES // (7 << 20) + 2
    assert offsets(items) == list(range(len(items)))
    assert read(fetched, len(items))[0].offset == len(items)


def test_aborted_records_are_passed_over_and_a_marker_at_the_end_too():
    mark = batch(
        [record(0, b"\x00" * 6, b"\x00\x00\x00\x00")], attributes=TRANSACTIONAL | CONTROL, producer_id=7, base_offset=3
    )
    gone = batch([record(0, b"x"), record(1, b"y")], attributes=TRANSACTIONAL, producer_id=7, base_offset=1)
    kept, passed = read(batch([record(0, b"a")]) + gone + mark, aborted=[(7, 1)])
    assert (kept.value, passed) == (b"a", Skipped(3))
    later = batch([record(0, b"z")], attributes=TRANSACTIONAL, producer_id=7, base_offset=4)
    assert [i.value for i in read(batch([record(0, b"a")]) + gone + mark + later, aborted=[(7, 1)])] == [b"a", b"z"]


hostile = st.binary(max_size=60).map(lambda text: bytes([min(len(text) * 2, 255)]) + text)
entries = st.lists(
    st.one_of(hostile, st.binary(max_size=20), st.integers(0, 9).map(lambda n: record(n, b"ok"))), max_size=6
)


@given(entries, st.sampled_from(sorted(COMPRESSIONS)), st.integers(0, 3))
def test_any_records_give_every_offset_once_and_raise_nothing(records: list[bytes], codec: str, position: int):
    follower = batch([record(0, b"next")], base_offset=max(len(records), 1))
    end = max(len(records), 1)
    position = min(position, end)
    items = read(packed(records or [b"\x00"], codec) + follower, position)
    assert offsets(items) == list(range(position, end + 1))
    assert items[-1].value == b"next"


@given(st.binary(max_size=300), st.integers(0, 40))
def test_any_bytes_at_all_raise_nothing_and_lose_no_offset_before_the_next_batch(noise: bytes, at: int):
    sound = bytearray(batch([record(n, b"v%d" % n) for n in range(3)]))
    sound[at : at + len(noise)] = noise
    items = read(bytes(sound))
    assert all(item.offset >= 0 for item in items)


def test_limits_are_those_that_were_set():
    try:
        set_limits(Limits(record_bytes=10, batch_bytes=1000))
        quarantined, taken = read(batch([record(0, b"longer than ten"), record(1, b"short")]))
        assert (quarantined.reason, taken.value) == (Reason.OVERSIZED, b"short")
    finally:
        set_limits(Limits(record_bytes=8 << 20, batch_bytes=32 << 20))


def content(items: list) -> list:
    return [
        i if isinstance(i, UnreadableRecords) else (i.offset, i.timestamp, i.key, i.value, tuple(i.headers))
        for i in items
    ]


@given(entries, st.integers(0, 6), st.integers(0, 120), st.integers(-1, 2))
def test_a_batch_parsed_in_pieces_gives_what_it_gives_whole(records, position, piece_bytes, more):
    """Also where its header states more or fewer records than there are."""
    count = max(len(records) + more, 1)
    fetched, position = batch(records or [b"\x00"], count=count), min(position, count - 1)
    whole = content(read(fetched, position))
    with mock.patch.object(bounded_parsing, "PIECE_BYTES", piece_bytes):
        assert content(read(fetched, position)) == whole


def test_a_compacted_batch_holds_no_record_of_the_next_one():
    beyond = batch([record(2, b"a"), record(3, b"beyond")], last_delta=2)
    items = read(beyond + batch([record(0, b"next")], base_offset=3))
    assert [i.value for i in items] == [b"a", b"next"]


@given(entries, st.integers(0, 6), st.integers(0, 120))
def test_a_compacted_batch_parsed_in_pieces_loses_no_offset(records, position, piece_bytes):
    fetched = batch(records or [b"\x00"], last_delta=len(records) + 1)
    whole = read(fetched, position)
    with mock.patch.object(bounded_parsing, "PIECE_BYTES", piece_bytes):
        in_pieces = offsets(read(fetched, position))
    assert in_pieces == sorted(set(in_pieces))
    assert set(in_pieces) >= set(offsets(whole))  # where more is broken, more is quarantined as one


EMPTY_HEADER = (b"", None)
NO_UTF8 = (b"\xff", None)


def with_headers(delta: int, count: int, last: tuple[bytes, bytes | None] = EMPTY_HEADER) -> bytes:
    return record(delta, b"v%d" % delta, b"k", [*[EMPTY_HEADER] * (count - 1), last])


@anyhow
def test_a_record_of_too_many_headers_is_refused_with_its_bytes_and_no_other_record(codec: str):
    many = with_headers(1, MOST_HEADERS + 1)
    first, quarantined, last = read(packed([with_headers(0, MOST_HEADERS), many, record(2, b"c")], codec))
    assert (len(first.headers), last.value) == (MOST_HEADERS, b"c")
    assert (quarantined.reason, quarantined.first_offset, quarantined.offset, quarantined.key) == (
        Reason.OVERSIZED,
        1,
        1,
        b"k",
    )
    assert many.endswith(quarantined.raw)
    assert quarantined.whole_bytes == len(quarantined.raw) > 2 * MOST_HEADERS


@pytest.mark.parametrize("padding_bytes", [0, 2 << 20], ids=["short batch", "long batch"])
@pytest.mark.parametrize("many_at", [0, 1])
def test_the_headers_of_a_record_that_has_too_many_are_counted_and_not_read(padding_bytes: int, many_at: int):
    """The last of them is broken: whoever reads so far says `unreadable`."""
    others = [record(n, b" " * padding_bytes) for n in range(3)]
    others[many_at] = with_headers(many_at, 600_000, last=NO_UTF8)
    items = read(packed(others, "zstd"))
    assert offsets(items) == [0, 1, 2]
    assert [i.offset for i in items if isinstance(i, UnreadableRecords)] == [many_at]
    assert items[many_at].reason is Reason.OVERSIZED


def test_a_record_that_lies_about_its_length_is_counted_as_the_client_would_read_it():
    lying = varint(1) + with_headers(1, 70_000)[3:]
    counted = headers_counted(iter("ab"), memoryview(record(0, b"a") + lying))
    assert next(counted) == "a"
    with pytest.raises(TooManyHeaders):
        next(counted)


class At:
    """The state of an assigned partition, as far as the client asks for it."""

    active, paused, position = True, False, 0

    def state_value(self, _: TopicPartition) -> At:
        return self

    def consumed_to(self, position: int) -> None:
        self.position = position


@pytest.mark.parametrize("last_header", [EMPTY_HEADER, NO_UTF8], ids=["sound", "broken"])
@pytest.mark.parametrize("size", [1, 50])
def test_very_many_headers_are_read_a_part_at_a_time_and_every_record_once(size: int, last_header):
    batches, each = 1000 // size, MOST_HEADERS
    fetched = b"".join(
        packed([with_headers(n, each, last_header) for n in range(size)], "zstd", base_offset=at * size)
        for at in range(batches)
    )
    source = fetching.fetcher.PartitionRecords(AT, RawBatches(fetched), None, 0, None, None, True, 1)
    result = fetching.fetcher.FetchResult(AT, assignment=At(), partition_records=source, backoff=0)
    turns = []
    while result.has_more():
        fetching.begin_turn()
        turns.append(result.getall(20_000))
    assert offsets([item for turn in turns for item in turn]) == list(range(size * batches))
    assert max(len(turn) for turn in turns) * each <= 2 * MOST_HEADERS_AT_ONCE
