"""Extends the pinned Kafka client: it skips records that cannot be parsed, and measures how long a partition is silent.

The client has no other extension point (docs/adr/0001). Its own records are passed on unchanged, because converting them
would cost more than all other work on them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from time import monotonic
from typing import Any, NamedTuple

from aiokafka import TopicPartition
from aiokafka.consumer import consumer as client
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException

from streams.runtime.batches import Removed, UnreadableRecords
from streams.runtime.bounded_parsing import MOST_HEADERS, MOST_HEADERS_AT_ONCE, PARSED_IN_PYTHON, check_headers
from streams.runtime.record_batches import (
    Broken,
    Limits,
    Opened,
    Opener,
    Raw,
    RawBatches,
    Read,
    Sealed,
    one_by_one,
    oversized,
)

MOST_DECODED_BYTES = 32 << 20
"""Of a partition at once; the rest of the fetch is requested again."""
_STEP_RECORDS = 50
"""So many are parsed before the header limit of a turn is checked again."""


class Skipped(NamedTuple):
    """The last of several offsets without a record: those of an aborted transaction, or the marker at its end."""

    offset: int


class Gap(NamedTuple):
    """Removed offsets; `offset` is the last of them."""

    offset: int
    removed: Removed


class Fetched(list[Any]):
    """What was fetched of a partition, in order of offsets; if `plain`, only the client's own records.

    Otherwise Read, UnreadableRecords, Skipped and Gap are among them.
    """

    plain = True


class Quiet(NamedTuple):
    """Nothing followed `position` when the broker was last asked, as nothing had since `since_s` (monotonic seconds)."""

    position: int
    since_s: float
    asked_s: float


class Waiting(NamedTuple):
    """Records behind the first transaction that is still open, and since when that one is the first (monotonic)."""

    records: int
    stable_offset: int
    since_s: float


class _Process:
    """State shared by objects that the client itself creates; one process runs one worker."""

    opener = Opener(Limits(record_bytes=8 << 20, batch_bytes=32 << 20))
    headers_left = MOST_HEADERS_AT_ONCE


def set_limits(limits: Limits) -> None:
    """Set the size limits of records and batches. Call it before the consumer starts."""
    _Process.opener = Opener(limits)


def begin_turn() -> None:
    """Start counting the headers that are parsed in one turn of the event loop."""
    _Process.headers_left = MOST_HEADERS_AT_ONCE


def _count_headers(count: int) -> None:
    _Process.headers_left -= count
    check_headers(count)


class _Records(fetcher.PartitionRecords):  # type: ignore[misc]
    """The records of one fetch, without those of aborted transactions; unreadable ones are in their place."""

    plain = True
    next_fetch_offset: int

    def __iter__(self) -> Iterator[Any]:
        return self._records_iterator  # type: ignore[no-any-return]

    def _unpack_records(self) -> Iterator[Any]:
        handed, decoded_bytes, most_bytes = self.next_fetch_offset, 0, _Process.opener.limits.record_bytes
        for raw in self._records:
            if decoded_bytes > MOST_DECODED_BYTES:
                break
            found = self._opened(raw)
            if found is None:
                continue
            if isinstance(found, UnreadableRecords):
                self.plain = False
                if found.offset >= self.next_fetch_offset:
                    self.next_fetch_offset = handed = found.offset + 1
                    yield found
                continue
            decoded_bytes += len(found.body)
            _, _, end, is_dense, *_ = found.sealed
            at = found.begin(self.next_fetch_offset)
            may_be_oversized = len(found.body) > most_bytes
            try:
                for record in found.records(self.next_fetch_offset):
                    offset = record.offset
                    if (offset != at) if is_dense else (not at <= offset < end):
                        raise CorruptRecordException
                    if record.headers:
                        _count_headers(len(record.headers))
                    at = offset + 1
                    if offset >= self.next_fetch_offset:
                        self.next_fetch_offset = handed = at
                        yield self._not_oversized(record, most_bytes) if may_be_oversized else record
            except Broken:
                for item in self._one_by_one(found):
                    self.next_fetch_offset = handed = item.offset + 1
                    yield item
            self.next_fetch_offset = max(self.next_fetch_offset, end)
        if self.next_fetch_offset > handed:
            self.plain = False
            yield Skipped(self.next_fetch_offset - 1)

    def _opened(self, raw: Raw) -> Opened | UnreadableRecords | None:
        """The batch, or what to quarantine of it; None if it is to be skipped."""
        found = _Process.opener.sealed(raw, self.next_fetch_offset)
        if isinstance(found, UnreadableRecords):
            return found
        if self._is_skipped(found):
            self.next_fetch_offset = max(self.next_fetch_offset, found.next_offset)
            return None
        return _Process.opener.opened(found, self.next_fetch_offset)

    def _one_by_one(self, opened: Opened) -> Iterator[Read | UnreadableRecords]:
        self.plain = False
        for item in one_by_one(opened, self.next_fetch_offset):
            parsed = MOST_HEADERS if isinstance(item, UnreadableRecords) else len(item.headers)
            _Process.headers_left -= parsed * PARSED_IN_PYTHON
            yield item

    def _not_oversized(self, record: Any, most_bytes: int) -> Any:
        quarantined = oversized(record, most_bytes)
        self.plain = self.plain and quarantined is None
        return quarantined or record

    def _is_skipped(self, sealed: Sealed) -> bool:
        self._consume_aborted_up_to(sealed.base_offset)
        if sealed.is_control:  # either marker ends the producer's transaction
            self._aborted_producers.discard(sealed.producer_id)
            return True
        if sealed.next_offset <= self.next_fetch_offset:
            return True
        return sealed.is_transactional and sealed.producer_id in self._aborted_producers


class _GapResult:
    """A gap, delivered in a partition's turn like a fetch."""

    plain = False

    def __init__(self, gap: Gap) -> None:
        self.next_fetch_offset = gap.offset + 1
        self._items = iter([gap])

    def __iter__(self) -> Iterator[Gap]:
        return self._items


class _FetchResult(fetcher.FetchResult):  # type: ignore[misc]
    _partition_records: Any

    def getall(self, max_records: int | None = None) -> list[Any]:
        """Like the client's method, but bounded in the headers it parses; reports whether all are plain records."""
        source = self._partition_records
        if not self.check_assignment(self._topic_partition) or source is None:
            return []
        fetched, most = Fetched(), sys.maxsize if max_records is None else max_records
        while len(fetched) < most and self._partition_records and _Process.headers_left > 0:
            wanted = len(fetched) + min(_STEP_RECORDS, most - len(fetched))
            fetched += islice(source, wanted - len(fetched))
            if len(fetched) < wanted:
                self._partition_records = None
        fetched.plain = source.plain
        self._assignment.state_value(self._topic_partition).consumed_to(source.next_fetch_offset)
        return fetched


class Fetcher(fetcher.Fetcher):  # type: ignore[misc]
    """Records for how long a partition is silent, and which requested offsets were gone.

    Time is monotonic. Silence ends when the broker was last *asked*: an answer may lie unread for long, as in a frozen
    machine.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.quiet: dict[TopicPartition, Quiet] = {}
        self.missing: dict[TopicPartition, int | None] = {}
        self.waiting: dict[TopicPartition, Waiting] = {}
        self._heard_s: dict[TopicPartition, float] = {}
        super().__init__(*args, **kwargs)

    async def fetched_records(self, *args: Any, **kwargs: Any) -> Any:
        """Like the client's method; one call is one turn of the event loop."""
        begin_turn()
        return await super().fetched_records(*args, **kwargs)

    async def _proc_fetch_request(self, assignment: Any, node_id: Any, request: Any) -> Any:
        asked = {
            TopicPartition(topic, number): offset
            for topic, partitions in request.topics
            for number, offset, *_ in partitions
        }
        for tp in asked:
            assignment.state_value(tp).lso = None  # set again by an answer that is accepted
        asked_s = monotonic()
        woken = await super()._proc_fetch_request(assignment, node_id, request)
        for tp, offset in asked.items():
            self._note(tp, offset, assignment.state_value(tp), asked_s)
        return woken

    def _note(self, tp: TopicPartition, offset: int, state: Any, asked_s: float) -> None:
        if state.awaiting_reset:
            self.missing.setdefault(tp, offset)
        if state.lso is None:
            return
        stable = state.lso if state.lso >= 0 else state.highwater
        self._note_waiting(tp, stable, state.highwater - stable)
        # records that wait for an open transaction were appended already: the partition is not silent
        if tp in self._records or offset < state.highwater:
            self._heard_s[tp] = monotonic()
            self.quiet.pop(tp, None)
        else:
            self.quiet[tp] = Quiet(offset, self._heard_s.setdefault(tp, asked_s), asked_s)

    def _note_waiting(self, tp: TopicPartition, stable_offset: int, records: int) -> None:
        before = self.waiting.get(tp)
        unchanged = before is not None and before.records and records and before.stable_offset == stable_offset
        since_s = before.since_s if before is not None and unchanged else monotonic()
        self.waiting[tp] = Waiting(records, stable_offset, since_s)

    async def _update_fetch_positions(self, assignment: Any, node_id: Any, tps: Any) -> Any:
        woken = await super()._update_fetch_positions(assignment, node_id, tps)
        for tp in tps:
            state = assignment.state_value(tp)
            if tp in self.missing and state.has_valid_position:
                woken = self._deliver_gap(assignment, tp, self.missing.pop(tp), state.position) or woken
        return woken

    def _deliver_gap(self, assignment: Any, tp: TopicPartition, asked_for: int | None, first_kept: int) -> bool:
        if first_kept == (asked_for or 0) or tp in self._records:
            return False
        gap = Gap(first_kept - 1, Removed(asked_for, first_kept))
        self._records[tp] = _FetchResult(
            tp, assignment=assignment, partition_records=_GapResult(gap), backoff=self._prefetch_backoff
        )
        return True


fetcher.MemoryRecords = RawBatches
fetcher.PartitionRecords = _Records
fetcher.FetchResult = _FetchResult
client.Fetcher = Fetcher
