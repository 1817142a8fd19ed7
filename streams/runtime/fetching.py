"""What the pinned Kafka client is made to do otherwise: read what others cannot, and say how long a partition is silent.

It offers no other place to say so (docs/adr/0001). Its own records are handed on as they are: making objects of ours of
them would cost more than all of our work on them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from time import monotonic
from typing import Any, NamedTuple

from aiokafka import TopicPartition
from aiokafka.consumer import consumer as client
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException

from streams.runtime.batches import Removed, Unparsed
from streams.runtime.record_batches import Broken, Limits, Opened, Opener, RawBatches, Sealed, one_by_one, oversized

MOST_DECODED_BYTES = 32 << 20
"""Of a partition at once; what is left of the fetch is asked for again."""


class Passed(NamedTuple):
    """The last of some offsets that hold no record: an aborted transaction's, or the marker at its end."""

    offset: int


class Gap(NamedTuple):
    """Offsets that are gone; `offset` is the last of them."""

    offset: int
    removed: Removed


class Fetched(list[Any]):
    """What was fetched of a partition, in order of offsets; all of it records while `plain`.

    Else there are Read, Unparsed, Passed and Gap among the client's own records.
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
    """One process runs one worker, and the client makes its objects itself: so they find the opener here."""

    opener = Opener(Limits(record_bytes=8 << 20, batch_bytes=32 << 20))


def take_at_most(limits: Limits) -> None:
    """Set how long a record and a batch may be. Before the consumer starts."""
    _Process.opener = Opener(limits)


class _Records(fetcher.PartitionRecords):  # type: ignore[misc]
    """The records of one fetch, those of aborted transactions left out; in their place what cannot be read."""

    plain = True
    next_fetch_offset: int

    def __iter__(self) -> Iterator[Any]:
        return self._records_iterator  # type: ignore[no-any-return]

    def _unpack_records(self) -> Iterator[Any]:
        opener, handed, decoded_bytes = _Process.opener, self.next_fetch_offset, 0
        for raw in self._records:
            if decoded_bytes > MOST_DECODED_BYTES:
                break
            found: Any = opener.sealed(raw, self.next_fetch_offset)
            if isinstance(found, Sealed):
                if self._is_passed_over(found):
                    self.next_fetch_offset = max(self.next_fetch_offset, found.next_offset)
                    continue
                found = opener.opened(found, self.next_fetch_offset)
            if isinstance(found, Unparsed):
                self.plain = False
                if found.offset >= self.next_fetch_offset:
                    self.next_fetch_offset = handed = found.offset + 1
                    yield found
                continue
            decoded_bytes += len(found.body)
            _, base_offset, end, is_dense, *_ = found.sealed
            at = base_offset
            try:
                for item in self._sound(found, opener.limits.record_bytes):
                    offset = item.offset
                    if offset != at and (is_dense or not at <= offset < end):
                        raise CorruptRecordException
                    at = offset + 1
                    if offset >= self.next_fetch_offset:
                        self.next_fetch_offset = handed = at
                        yield item
            except Broken:
                self.plain = False
                for item in one_by_one(found, self.next_fetch_offset):
                    self.next_fetch_offset = handed = item.offset + 1
                    yield item
            self.next_fetch_offset = max(self.next_fetch_offset, end)
        if self.next_fetch_offset > handed:
            self.plain = False
            yield Passed(self.next_fetch_offset - 1)

    def _sound(self, opened: Opened, most_bytes: int) -> Iterator[Any]:
        if len(opened.body) <= most_bytes:
            return iter(opened.batch)
        return self._not_oversized(opened, most_bytes)

    def _not_oversized(self, opened: Opened, most_bytes: int) -> Iterator[Any]:
        for record in opened.batch:
            refused = oversized(record, most_bytes)
            self.plain = self.plain and refused is None
            yield refused or record

    def _is_passed_over(self, sealed: Sealed) -> bool:
        self._consume_aborted_up_to(sealed.base_offset)
        if sealed.is_control:  # either marker ends the producer's transaction
            self._aborted_producers.discard(sealed.producer_id)
            return True
        if sealed.next_offset <= self.next_fetch_offset:
            return True
        return sealed.is_transactional and sealed.producer_id in self._aborted_producers


class _Told:
    """One thing to be told in a partition's turn, in the place of a fetch."""

    plain = False

    def __init__(self, gap: Gap) -> None:
        self.next_fetch_offset = gap.offset + 1
        self._items = iter([gap])

    def __iter__(self) -> Iterator[Gap]:
        return self._items


class _FetchResult(fetcher.FetchResult):  # type: ignore[misc]
    _partition_records: Any

    def getall(self, max_records: int | None = None) -> list[Any]:
        """As the client's own, without its loop in Python; and says whether there is anything but records."""
        source = self._partition_records
        if not self.check_assignment(self._topic_partition) or source is None:
            return []
        taken = Fetched(islice(source, max_records))
        taken.plain = source.plain
        self._update_position()
        if max_records is None or len(taken) < max_records:
            self._partition_records = None
        return taken


class Fetcher(fetcher.Fetcher):  # type: ignore[misc]
    """Remembers for how long a partition is silent, and what was gone when it was asked for.

    Time is monotonic. Silence ends when the broker was last *asked*: an answer may lie unread for long, as in a frozen
    machine.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.quiet: dict[TopicPartition, Quiet] = {}
        self.missing: dict[TopicPartition, int | None] = {}
        self.waiting: dict[TopicPartition, Waiting] = {}
        self._heard_s: dict[TopicPartition, float] = {}
        super().__init__(*args, **kwargs)

    async def _proc_fetch_request(self, assignment: Any, node_id: Any, request: Any) -> Any:
        asked = {
            TopicPartition(topic, number): offset
            for topic, partitions in request.topics
            for number, offset, *_ in partitions
        }
        for tp in asked:
            assignment.state_value(tp).lso = None  # set again by an answer that is taken
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
        # what waits for an open transaction was appended already: the partition is not silent, and may not be taken for it
        if tp in self._records or offset < state.highwater:
            self._heard_s[tp] = monotonic()
            self.quiet.pop(tp, None)
        else:
            self.quiet[tp] = Quiet(offset, self._heard_s.setdefault(tp, asked_s), asked_s)

    def _note_waiting(self, tp: TopicPartition, stable_offset: int, records: int) -> None:
        before = self.waiting.get(tp)
        stands = before is not None and before.records and records and before.stable_offset == stable_offset
        since_s = before.since_s if before is not None and stands else monotonic()
        self.waiting[tp] = Waiting(records, stable_offset, since_s)

    async def _update_fetch_positions(self, assignment: Any, node_id: Any, tps: Any) -> Any:
        woken = await super()._update_fetch_positions(assignment, node_id, tps)
        for tp in tps:
            state = assignment.state_value(tp)
            if tp in self.missing and state.has_valid_position:
                woken = self._tell_gap(assignment, tp, self.missing.pop(tp), state.position) or woken
        return woken

    def _tell_gap(self, assignment: Any, tp: TopicPartition, asked_for: int | None, first_kept: int) -> bool:
        if first_kept == (asked_for or 0) or tp in self._records:
            return False
        gap = Gap(first_kept - 1, Removed(asked_for, first_kept))
        self._records[tp] = _FetchResult(
            tp, assignment=assignment, partition_records=_Told(gap), backoff=self._prefetch_backoff
        )
        return True


fetcher.MemoryRecords = RawBatches
fetcher.PartitionRecords = _Records
fetcher.FetchResult = _FetchResult
client.Fetcher = Fetcher
