"""A Faust transport that delivers one event per partition fetch, and commits only what the role has settled.

Registered in Faust's entry point group `faust.transports` as `microbatch`. Every topic of such an app is batched.
Why Faust's acknowledgements are not used, and what its consumer does at a rebalance: docs/adr/0001.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, cast

from aiokafka.errors import ConsumerStoppedError, KafkaTimeoutError
from faust.transport.drivers import aiokafka as base
from faust.types import TP, ConsumerMessage

from streams.runtime.batches import Batch, BatchRole, UnreadableRecords
from streams.runtime.columns import FetchedRecords
from streams.runtime.fail_fast import exit_on_error
from streams.runtime.fetching import Fetched, Gap, Skipped, Waiting

FETCH_WAIT_MS = 250
"""How long the broker holds an empty fetch: bounds how late a silent partition is noticed."""

READ_COMMITTED = "read_committed"
"""Readings of an aborted transaction do not count. Faust sets this only for transactions of its own."""

SEEK_AGAIN_S = 0.5


def role_of(app: Any) -> BatchRole:
    """The role an app serves; the worker sets it."""
    return cast(BatchRole, app.batch_role)


class ConsumerThread(base.AIOKafkaConsumerThread):  # type: ignore[misc]
    """Fetches in a separate thread, as Faust does, with a shorter wait."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        consumer._isolation_level = READ_COMMITTED
        return consumer

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek to the offset from which each partition must be read; to its beginning if nothing was committed.

        The client would keep its position, which is after records that Faust dropped at a rebalance.
        """
        return cast(Mapping[TP, int], await self.call_thread(self._seek))

    async def _seek(self) -> Mapping[Any, int | None]:
        consumer = self._ensure_consumer()
        assignment = consumer._subscription.subscription.assignment
        consumer._fetcher.missing.clear()
        committed: Mapping[Any, int | None] = await consumer.seek_to_committed()
        untouched = [tp for tp, offset in committed.items() if not offset]
        consumer._fetcher.missing.update({tp: committed[tp] for tp in untouched})
        sought = not untouched or await consumer.seek_to_beginning(*untouched)
        if not sought and assignment.active:  # else the next assignment seeks again
            raise KafkaTimeoutError
        return {**committed, **self._seek_back(committed)}

    def _seek_back(self, committed: Mapping[Any, int | None]) -> dict[Any, int]:
        """To an offset before the committed one, if the role lost what the records after it caused."""
        app = self.consumer.app
        starts = {
            base.ensure_aiokafka_TP(TP(app.batch_topic, number)): at for number, at in role_of(app).start_at().items()
        }
        back = {tp: starts[tp] for tp, offset in committed.items() if offset and starts.get(tp, offset) < offset}
        for tp, offset in back.items():
            self._ensure_consumer().seek(tp, offset)
        return back

    def silent_for_ms(self, tp: TP, position: int) -> int | None:
        """For how long nothing had followed this position when the broker was last asked; None while something does."""
        quiet = self._ensure_consumer()._fetcher.quiet.get(base.ensure_aiokafka_TP(tp))
        if quiet is None or quiet.position != position:
            return None
        return int((quiet.asked_s - quiet.since_s) * 1000)

    def waiting(self) -> dict[int, Waiting]:
        """partition → the records that wait for an open transaction; of the assigned partitions."""
        consumer = self._ensure_consumer()
        return {tp.partition: found for tp in consumer.assignment() if (found := consumer._fetcher.waiting.get(tp))}


class Consumer(base.Consumer):  # type: ignore[misc]
    """Passes on a whole fetch of a partition as one message, and lets the role decide what is committed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._committed: dict[TP, int] = {}

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Any]]:  # noqa: ASYNC109 (Faust's signature)
        """One message for each partition that had records; its value is the Batch."""
        fetched, active = await self._wait_next_records(timeout)
        generation = self.app.consumer_generation_id
        if fetched is None or self.should_stop:
            return
        if not self.flow_active:
            await self._seek_quietly()
            return
        for tp, records in fetched.items():
            if not self.flow_active or self.app.consumer_generation_id != generation:
                return
            if records and (active is None or tp in active or tp in self._buffered_partitions):
                self._read_offset[tp] = records[-1].offset - 1
                yield tp, self._batch_message(tp, records)

    async def _seek_quietly(self) -> None:
        """Seek back to the committed offsets: records that were fetched but not passed on must be read again.

        Partitions that were revoked are sought when they are assigned again; an unavailable broker is retried.
        """
        while not self.should_stop:
            try:
                await self.perform_seek()
            except (ConsumerStoppedError, base.IllegalStateError):
                return
            except base.KafkaError as problem:
                self.log.warning("seek to the committed offsets failed: %s", type(problem).__name__)
                await self.sleep(SEEK_AGAIN_S)
            else:
                return

    def _batch_message(self, tp: TP, fetched: Fetched) -> Any:
        message = ConsumerMessage(
            tp.topic, tp.partition, fetched[-1].offset, 0.0, 0, (), None, None, None,
            tp=tp, generation_id=self.app.consumer_generation_id,
        )  # fmt: skip
        message.value = batch_of(tp, fetched)
        return message

    def ack(self, message: Any) -> bool:
        """Only ends the wait for events in flight: acknowledging commits nothing in this transport."""
        if message.acked:
            return False
        message.acked = True
        self._unacked_messages.discard(message)
        if self._waiting_for_ack is not None and not self._waiting_for_ack.done():
            self._waiting_for_ack.set_result(None)
        return True

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit the settled offsets that are new; a failed commit is retried the next time."""
        assigned = self.assignment()
        settled = {tp: offset for tp, offset in self._settled().items() if tp in assigned}
        new = {tp: offset for tp, offset in settled.items() if offset != self._committed.get(tp)}
        if not new or not await self._commit(new):
            return False
        self._committed.update(new)
        self._committed_offset.update(new)
        return True

    def _settled(self) -> Mapping[TP, int]:
        topic = self.app.batch_topic
        return {TP(topic, partition): offset for partition, offset in role_of(self.app).settled().items()}

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """After the last commit the role drops its state: the next owner reads again from there."""
        await super().on_partitions_revoked(revoked)
        for tp in revoked:
            self._committed.pop(tp, None)
        await exit_on_error(role_of(self.app).revoked([tp.partition for tp in revoked]))

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """The role loads its state before the first batch can arrive."""
        await exit_on_error(role_of(self.app).assigned([tp.partition for tp in assigned]))
        await super().on_partitions_assigned(assigned, generation_id)

    def silent_for_ms(self, partition: int, position: int) -> int | None:
        """For how long nothing has followed this position of the app's topic; None while something does."""
        return cast(ConsumerThread, self._thread).silent_for_ms(TP(self.app.batch_topic, partition), position)

    def waiting(self) -> dict[int, Waiting]:
        """partition → the records that wait for an open transaction."""
        return cast(ConsumerThread, self._thread).waiting()


def batch_of(tp: TP, fetched: Fetched) -> Batch:
    """The batch of a fetch, with everything that is not a record separated."""
    if fetched.plain:
        return Batch(tp.topic, tp.partition, FetchedRecords(fetched))
    unreadable = [item for item in fetched if isinstance(item, UnreadableRecords)]
    removed = next((item.removed for item in fetched if isinstance(item, Gap)), None)
    records = FetchedRecords([item for item in fetched if not isinstance(item, UnreadableRecords | Skipped | Gap)])
    return Batch(tp.topic, tp.partition, records, fetched[-1].offset + 1, unreadable, removed)


class Transport(base.Transport):  # type: ignore[misc]
    """`microbatch://host:port`."""

    Consumer = Consumer
