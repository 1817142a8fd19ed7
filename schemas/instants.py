"""Instants as numbers and as text: milliseconds and microseconds since 1970, and RFC 3339 in UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
"""The smallest step of time: the last instant before an exclusive end is one microsecond earlier."""

_MILLISECOND = timedelta(milliseconds=1)


def epoch_ms(instant: datetime) -> int:
    """Whole milliseconds since 1970, rounded down.

    >>> epoch_ms(datetime(1970, 1, 1, 0, 0, 1, 999, tzinfo=UTC))
    1000
    """
    return (instant - EPOCH) // _MILLISECOND


def epoch_us(instant: datetime) -> int:
    """Microseconds since 1970, exact."""
    return (instant - EPOCH) // MICROSECOND


def from_epoch_ms(ms: int) -> datetime:
    """The instant in UTC. OverflowError beyond the years 1 to 9999."""
    return EPOCH + timedelta(milliseconds=ms)


def from_epoch_us(us: int) -> datetime:
    """The instant in UTC. OverflowError beyond the years 1 to 9999."""
    return EPOCH + timedelta(microseconds=us)


def rfc3339(instant: datetime) -> str:
    """RFC 3339 in UTC, which is also a FHIR instant. Milliseconds only where there are some.

    >>> rfc3339(datetime(2026, 1, 5, 10, 1, tzinfo=UTC))
    '2026-01-05T10:01:00Z'
    """
    return _in_utc(instant, "milliseconds" if instant.microsecond else "seconds")


@lru_cache(maxsize=4096)
def rfc3339_from_ms(ms: int) -> str:
    """Milliseconds since 1970 as RFC 3339 in UTC, always with three decimals. Cached: windows share their bounds.

    >>> rfc3339_from_ms(1_767_607_260_000)
    '2026-01-05T10:01:00.000Z'
    """
    return _in_utc(from_epoch_ms(ms), "milliseconds")


def _in_utc(instant: datetime, timespec: str) -> str:
    return instant.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")
