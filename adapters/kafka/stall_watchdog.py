"""Ends a worker that no longer moves. It asks the broker, not the worker: what a stalled consumer says of itself is no use.

A thread of its own, for a stall may be the event loop's. A partition is stalled when there is something to read and its
committed offset has not moved for `stall_after_s`. Open windows hold offsets back, so that must be longer than the
longest window with its grace and idle time.

What goes wrong in the watch itself is told, and the next look is tried; when none succeeds for `stall_after_s`, a stall
would not be noticed either, so that ends the worker too.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Mapping
from threading import Event, Thread
from time import monotonic
from typing import Any, NoReturn

from confluent_kafka import Consumer, KafkaException, TopicPartition

from schemas.ports.observer import Observer

_log = logging.getLogger(__name__)
EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: start it again
_ANSWER_S = 5.0

_Partition = tuple[str, int]
Assigned = Callable[[], Mapping[str, Collection[int]]]


def end_process(reason: str) -> NoReturn:
    """Leave at once: what a stalled worker would still do on its way out could commit what it did not finish."""
    os.write(2, f"vitalwire: this worker ends itself: {reason}\n".encode())
    os._exit(EXIT_CODE)


class StallWatchdog:
    """Watches the partitions that are assigned to this worker (`assigned` gives topic → partitions)."""

    def __init__(
        self,
        bootstrap: str,
        group: str,
        assigned: Assigned,
        observer: Observer,
        *,
        stall_after_s: float,
        end: Callable[[str], object] = end_process,
        extra: dict[str, Any] | None = None,
    ) -> None:
        self._settings = {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "log_level": 3,
        } | (extra or {})
        self._assigned = assigned
        self._observer = observer
        self._stall_after_s = stall_after_s
        self._every_s = min(5.0, stall_after_s / 4)
        self._end = end
        self._moved: dict[_Partition, tuple[int, float]] = {}
        self._shown: set[_Partition] = set()
        self._failing_since_s: float | None = None
        self._stopped = Event()
        self._thread = Thread(target=self._run, name="stall-watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching, as the worker ends in order."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            self._watch()
        except BaseException as error:
            self._end(f"the stall watchdog cannot watch ({_told(error)})")

    def _watch(self) -> None:
        # Asks for the group's offsets without ever joining it.
        consumer = Consumer(self._settings, logger=_log)
        try:
            while not self._stopped.wait(self._every_s):
                self._look_again(consumer)
        finally:
            consumer.close()

    def _look_again(self, consumer: Consumer) -> None:
        try:
            self._look(consumer)
            self._failing_since_s = None
        except Exception as error:
            now_s = monotonic()
            if self._failing_since_s is None:
                self._failing_since_s = now_s
                _log.error("the stall watchdog failed (%s); it looks again", _told(error))
            if now_s - self._failing_since_s > self._stall_after_s:
                self._end(f"the stall watchdog has failed for more than {self._stall_after_s:g} s ({_told(error)})")

    def _look(self, consumer: Consumer) -> None:
        watched = [(topic, number) for topic, numbers in self._assigned().items() for number in sorted(numbers)]
        self._show_no_lag_of(self._shown.difference(watched))
        try:
            committed = {at: _committed(consumer, at) for at in watched}
            ends = {at: consumer.get_watermark_offsets(TopicPartition(*at), _ANSWER_S) for at in watched}
        except KafkaException:
            self._moved.clear()  # a broker that is away is no evidence against the worker
            return
        self._moved = {at: seen for at, seen in self._moved.items() if at in committed}
        for at, offset in committed.items():
            first, end = ends[at]
            self._judge(at, max(offset, first), end)

    def _show_no_lag_of(self, moved_away: set[_Partition]) -> None:
        """A partition's lag is told by the worker that has it now; a last number left standing would be taken for lag."""
        for topic, number in moved_away:
            self._observer.gauge("partition_lag", 0, topic=topic, partition=str(number))
        self._shown -= moved_away

    def _judge(self, at: _Partition, offset: int, end: int) -> None:
        now = monotonic()
        topic, number = at
        self._observer.gauge("partition_lag", end - offset, topic=topic, partition=str(number))
        self._shown.add(at)
        before, since = self._moved.get(at, (offset, now))
        if offset != before or offset >= end:
            since = now
        self._moved[at] = (offset, since)
        if now - since > self._stall_after_s:
            self._end(
                f"{topic} partition {number} stays at offset {offset} of {end} for more than {self._stall_after_s:g} s"
            )


def _committed(consumer: Consumer, at: _Partition) -> int:
    answer = consumer.committed([TopicPartition(*at)], _ANSWER_S)[0]
    if answer.error:
        raise KafkaException(answer.error)
    return int(answer.offset)


def _told(error: BaseException) -> str:
    """Its kind only: what an error says may quote anything."""
    return type(error).__name__
