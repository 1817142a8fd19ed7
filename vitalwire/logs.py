"""A worker's log: standard error, one line an event, and no flood from a client library that retries."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from time import monotonic

REPEATED_AFTER_S = 30.0
_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


class SeldomRepeated(logging.Filter):
    """Lets a kind of message of `library` through once in a while; what differs is what is said, not the address in it.

    While Kafka is away aiokafka logs each attempt to reach it, ten a second.
    """

    def __init__(self, library: str, now_s: Callable[[], float] = monotonic) -> None:
        super().__init__(library)
        self._now_s = now_s
        self._told_s: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written."""
        if not super().filter(record):
            return True
        kind, now_s = (record.name, str(record.msg)), self._now_s()
        if now_s - self._told_s.get(kind, -REPEATED_AFTER_S) < REPEATED_AFTER_S:
            return False
        self._told_s[kind] = now_s
        return True


def log_to_standard_error() -> None:
    """Set the process's logging up."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(SeldomRepeated("aiokafka"))
    logging.basicConfig(handlers=[handler], level=logging.INFO, format=_FORMAT)
