"""A worker's log: standard error, one line per event, with repeated messages of client libraries suppressed."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from time import monotonic

REPEATED_AFTER_S = 30.0
_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


class SeldomRepeated(logging.Filter):
    """Passes each message template of `library` at most once per interval, whatever its arguments.

    While Kafka is down, aiokafka logs every attempt to connect, ten per second.
    """

    def __init__(self, library: str, now_s: Callable[[], float] = monotonic) -> None:
        super().__init__(library)
        self._now_s = now_s
        self._logged_s: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is logged."""
        if not super().filter(record):
            return True
        kind, now_s = (record.name, str(record.msg)), self._now_s()
        if now_s - self._logged_s.get(kind, -REPEATED_AFTER_S) < REPEATED_AFTER_S:
            return False
        self._logged_s[kind] = now_s
        return True


def log_to_standard_error() -> None:
    """Configure the process's logging."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(SeldomRepeated("aiokafka"))
    logging.basicConfig(handlers=[handler], level=logging.INFO, format=_FORMAT)
