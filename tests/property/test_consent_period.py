"""Any FHIR dateTime as start or end of a consent: it permits within the period, in every time zone, and only there."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from mappings.consent.resource import consent_from_fhir
from schemas.reference import Consent

SCOPE = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]}
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
LONG_AGO, FAR_AHEAD = datetime(1, 1, 3, tzinfo=UTC), datetime(9999, 12, 29, tzinfo=UTC)
ANYWHERE = [timezone(timedelta(hours=hours)) for hours in (-12, 0, 14)]


def consent(**period: object) -> Consent:
    resource = {
        "resourceType": "Consent",
        "status": "active",
        "scope": SCOPE,
        "patient": {"reference": "Patient/p-9"},
        "provision": {"type": "permit", "period": period},
    }
    return consent_from_fhir(resource, "north", "p-9")


def permits(read: Consent, at: datetime) -> bool:
    return read.allows("vitals", "heart_rate", "north-epic", at)


@pytest.mark.parametrize(
    "end", ["9999-12-31", "9999-12", "9999", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999-12:00"]
)
def test_a_consent_that_ends_with_the_calendar_has_no_end(end: str):
    """Many systems write 9999-12-31 for "until further notice"; the day after it is in no calendar."""
    read = consent(start="2026-01-01", end=end)

    assert read.status == "active"
    assert permits(read, NOW)
    assert permits(read, FAR_AHEAD)


@pytest.mark.parametrize("start", ["0001-01-01", "0001", "0001-01-01T00:00:00+14:00"])
def test_a_consent_that_begins_with_the_calendar_has_no_start(start: str):
    read = consent(start=start)

    assert permits(read, NOW)
    assert permits(read, LONG_AGO)


def test_an_end_before_the_calendar_and_a_start_after_it_permit_nothing():
    for read in (consent(end="0001-01-01T00:00:00+14:00"), consent(start="9999-12-31T23:59:59-12:00")):
        assert read.status == "active"
        assert not any(permits(read, at) for at in (LONG_AGO, NOW, FAR_AHEAD))


@pytest.mark.parametrize(
    ("written", "first", "last"),
    [
        ("2026", "2026-01-01T12:00:00+00:00", "2026-12-31T09:59:59.999999+00:00"),
        ("2026-02", "2026-02-01T12:00:00+00:00", "2026-02-28T09:59:59.999999+00:00"),
        ("2026-12", "2026-12-01T12:00:00+00:00", "2026-12-31T09:59:59.999999+00:00"),
        ("2026-12-31", "2026-12-31T12:00:00+00:00", "2026-12-31T09:59:59.999999+00:00"),
        ("2026-12-31T10:00:00-05:00", "2026-12-31T15:00:00+00:00", "2026-12-31T14:59:59.999999+00:00"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00+00:00", "2016-12-31T23:59:59.999999+00:00"),
        ("2026-12-31T10:00:00.123456789Z", "2026-12-31T10:00:00.123456+00:00", "2026-12-31T10:00:00.123455+00:00"),
    ],
)
def test_a_year_a_month_a_day_or_an_instant_is_interpreted_as_the_shortest_period(written: str, first: str, last: str):
    since, until = datetime.fromisoformat(first), datetime.fromisoformat(last)
    moment = timedelta(microseconds=1)

    assert permits(consent(start=written), since)
    assert not permits(consent(start=written), since - moment)
    assert permits(consent(end=written), until)
    assert not permits(consent(end=written), until + moment)


@pytest.mark.parametrize(
    "written",
    [
        *("", "26", "0000", "2026-13", "2026-1", "2026-02-30", "20260101", "2026-W01-1", "2026-01-01T10", " 2026"),
        *("2026-01-01T10:00Z", "2026-01-01T10:00:00", "2026-01-01 10:00:00Z", "2026-01-01T24:00:00Z", "2026\n"),
        *("2026-01-01T10:00:00+15:00", "２０２６", 2026, None, True, ["2026"], {}),
    ],
)
def test_a_value_that_is_not_a_fhir_date_time_permits_nothing(written: object):
    for read in (consent(start=written), consent(end=written)):
        assert read.status == "not understood: provision.period"
        assert not permits(read, NOW)


@st.composite
def partial_dates(draw: st.DrawFn) -> str:
    year, month = draw(st.integers(1, 9999)), draw(st.integers(1, 12))
    day = draw(st.integers(1, calendar.monthrange(year, month)[1]))
    return f"{year:04}-{month:02}-{day:02}"[: draw(st.sampled_from([4, 7, 10]))]


def instants(zone: timezone) -> st.SearchStrategy[datetime]:
    return st.datetimes(LONG_AGO.replace(tzinfo=None), FAR_AHEAD.replace(tzinfo=None), timezones=st.just(zone))


@given(partial_dates(), st.data())
@example("9999-12-31", None)
@example("0001-01-01", None)
def test_a_date_permits_what_is_within_it_in_every_time_zone(written: str, data: st.DataObject | None):
    begun, ended = consent(start=written), consent(end=written)
    assert begun.status == ended.status == "active"
    if data is None:
        return
    zone = data.draw(st.sampled_from(ANYWHERE))
    local = data.draw(instants(zone))
    here = local.isoformat()[: len(written)]
    assume(here != written)
    # A permission in force says so in every zone: what it shows to be past its end, or before its start, is not permitted.
    if here > written:
        assert not permits(ended, local)
    else:
        assert not permits(begun, local)


@given(st.datetimes(timezones=st.sampled_from([timezone(timedelta(minutes=m)) for m in (-840, -330, 0, 345, 840)])))
def test_an_instant_separates_before_and_after_to_the_microsecond(moment: datetime):
    written = moment.isoformat(timespec="microseconds")
    begun, ended = consent(start=written), consent(end=written)

    assert begun.status == ended.status == "active"
    assert permits(begun, moment)
    assert not permits(ended, moment)


@given(st.text(max_size=30) | st.from_regex(r"[0-9T:Z+.-]{4,30}", fullmatch=True))
def test_any_text_as_a_start_or_end_results_in_a_consent(text: str):
    assert isinstance(consent(start=text, end=text), Consent)
