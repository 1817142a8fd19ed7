"""When a FHIR R4 Period of a consent begins and ends: the shortest reading, in any time zone on earth.

    start "2026", "2026-03", "2026-03-01"   from the first instant of that year, month or day in the last zone to reach it
    end   "2026", "2026-03", "2026-03-01"   through that year, month or day (ends are inclusive) in the first zone to leave it
    date and time                           that instant; FHIR requires an offset
    end 9999-12-31 or later                 no end: the customary way to write "for ever"
Source: https://hl7.org/fhir/R4/datatypes.html#Period and #dateTime.
"""

from __future__ import annotations

import re
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta, timezone

_DATE_TIME = re.compile(
    r"([0-9]{4})(?:-(0[1-9]|1[0-2])(?:-(0[1-9]|[12][0-9]|3[01])(T(?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)"
    r"(?:\.[0-9]+)?(?:Z|[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00)))?)?)?"
)
_WEST, _EAST = timezone(timedelta(hours=-12)), timezone(timedelta(hours=14))
_BEFORE_ALL, _AFTER_ALL = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def since(text: object) -> datetime | None:
    """When a period with this start begins; None if it has always applied. ValueError if it is not a FHIR dateTime."""
    begins, _ = _span(text, _WEST)
    return None if begins == _BEFORE_ALL else begins


def until(text: object) -> datetime | None:
    """The first instant after a period with this end; None if it never ends. ValueError if it is not a FHIR dateTime."""
    _, over = _span(text, _EAST)
    return None if over == _AFTER_ALL else over


def _span(text: object, zone: timezone) -> tuple[datetime, datetime]:
    """The first instant of a year, month or day, and the first one after it. A date with a time is both."""
    parts = _DATE_TIME.fullmatch(text) if isinstance(text, str) else None
    if parts is None:
        raise ValueError("not a FHIR dateTime")
    year, month, day, time = parts.groups()
    first = datetime(int(year), int(month or 1), int(day or 1), tzinfo=zone)
    if time:
        instant = _instant(parts[0])
        return instant, instant
    if day:
        return _utc(first), _utc(first, timedelta(days=1))
    if month is None or month == "12":
        return _utc(first), _AFTER_ALL if first.year == MAXYEAR else _utc(first.replace(year=first.year + 1, month=1))
    return _utc(first), _utc(first.replace(month=first.month + 1))


def _instant(text: str) -> datetime:
    """The instant; Python has no leap seconds, so one becomes the instant after it."""
    leap = text[17:19] == "60"
    moment = datetime.fromisoformat(text[:17] + "59" + text[19:] if leap else text)
    return _utc(moment.replace(microsecond=0) if leap else moment, timedelta(seconds=leap))


def _utc(moment: datetime, later: timedelta = timedelta(0)) -> datetime:
    """The instant in UTC; outside the years 1 to 9999 it is before or after all time."""
    try:
        return (moment + later).astimezone(UTC)
    except OverflowError:
        return _BEFORE_ALL if moment.year == MINYEAR else _AFTER_ALL
