"""Ends a worker that makes no progress. Progress is read from the broker, because a stalled consumer cannot report it.

The watchdog has its own thread, because the event loop itself may stall. A partition is stalled when it has records to read
and its committed offset has not advanced for `stall_after_s`. Open windows delay commits, so this must be longer than the
longest window with its grace and idle time.

Errors of the watchdog itself are logged and the check is retried. If no check succeeds for `stall_after_s`, a stall would go
unnoticed, so the worker ends too.
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
EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: the supervisor restarts the worker
_ANSWER_S = 5.0

_Partition = tuple[str, int]
Assigned = Callable[[], Mapping[str, Collection[int]]]


def end_process(reason: str) -> NoReturn:
    """Exit at once: an orderly shutdown of a stalled worker could commit unfinished work."""
    os.write(2, f"vitalwire: exiting: {reason}\n".encode())
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
        """Start watching."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching, at an orderly shutdown."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            self._watch()
        except BaseException as error:
            self._end(f"the stall watchdog cannot watch ({_error_type(error)})")

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
                _log.error("the stall watchdog failed (%s); retrying", _error_type(error))
            if now_s - self._failing_since_s > self._stall_after_s:
                self._end(
                    f"the stall watchdog has failed for more than {self._stall_after_s:g} s ({_error_type(error)})"
                )

    def _look(self, consumer: Consumer) -> None:
        watched = [(topic, number) for topic, numbers in self._assigned().items() for number in sorted(numbers)]
        self._show_no_lag_of(self._shown.difference(watched))
        try:
            committed = {at: _committed(consumer, at) for at in watched}
            ends = {at: consumer.get_watermark_offsets(TopicPartition(*at), _ANSWER_S) for at in watched}
        except KafkaException:
            self._moved.clear()  # an unavailable broker is no evidence of a stall
            return
        self._moved = {at: seen for at, seen in self._moved.items() if at in committed}
        for at, offset in committed.items():
            first, end = ends[at]
            self._check_progress(at, max(offset, first), end)

    def _show_no_lag_of(self, moved_away: set[_Partition]) -> None:
        """The new owner reports a partition's lag; a stale value here would look like lag."""
        for topic, number in moved_away:
            self._observer.gauge("partition_lag", 0, topic=topic, partition=str(number))
        self._shown -= moved_away

    def _check_progress(self, at: _Partition, offset: int, end: int) -> None:
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


def _error_type(error: BaseException) -> str:
    """Only the type: the message of an error may contain anything."""
    return type(error).__name__
