"""Which of a patient's encounters a result belongs to."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.ehr.encounters import ACTIVE, active_encounters, choose

AT = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


def choose_active(found: list[dict[str, Any]], subject_id: str, at: datetime) -> str | None:
    return choose(active_encounters(found, subject_id), at)


def encounter(
    name: str, status: str = "in-progress", kind: str = "IMP", start: str = "2026-01-01T00:00:00Z", patient: str = "p"
):
    return {
        "id": name,
        "status": status,
        "class": {"code": kind},
        "period": {"start": start},
        "subject": {"reference": f"Patient/{patient}"},
    }


def test_a_closed_or_planned_encounter_is_never_chosen() -> None:
    closed = [encounter("a", status) for status in ("finished", "planned", "cancelled", "entered-in-error", "unknown")]
    assert choose_active(closed, "p", AT) is None


def test_an_encounter_of_another_patient_is_never_chosen() -> None:
    assert choose_active([encounter("a", patient="q")], "p", AT) is None


def test_an_encounter_that_had_not_begun_is_not_chosen() -> None:
    assert choose_active([encounter("a", start="2026-01-06T00:00:00Z")], "p", AT) is None


def test_an_encounter_that_was_over_is_not_chosen_though_it_is_still_called_active() -> None:
    def ended(at: str) -> dict[str, Any]:
        return encounter("a") | {"period": {"start": "2026-01-01T00:00:00Z", "end": at}}

    assert choose_active([ended("2026-01-05T09:59:59Z")], "p", AT) is None
    assert choose_active([ended("2026-01-04")], "p", AT) is None
    for later in ("2026-01-05T10:00:00Z", "2026-01-05T04:00:00-06:00", "2026-01-05", "2026-02-01T00:00:00Z"):
        assert choose_active([ended(later)], "p", AT) == "Encounter/a"


def test_each_reading_gets_the_stay_of_its_own_moment() -> None:
    stays = [
        encounter("night") | {"period": {"start": "2026-01-04T20:00:00Z", "end": "2026-01-05T08:45:00Z"}},
        encounter("day", start="2026-01-05T09:00:00Z"),
    ]
    assert choose_active(stays, "p", AT.replace(hour=8, minute=30)) == "Encounter/night"
    assert choose_active(stays, "p", AT.replace(hour=8, minute=50)) is None
    assert choose_active(stays, "p", AT.replace(hour=9)) == "Encounter/day"


def test_an_encounter_whose_period_or_id_cannot_be_read_is_not_chosen() -> None:
    for period in ({"start": "yesterday"}, {"end": "2026-13"}, {"start": 1}, "2026", ["x"]):
        assert choose_active([encounter("a") | {"period": period}], "p", AT) is None
    for name in ("", "a/b", "a\x00", "a b", "a\n", "x" * 129):
        assert choose_active([encounter(name)], "p", AT) is None


def test_a_period_that_ends_at_the_end_of_time_or_began_at_its_beginning_is_open() -> None:
    for end in ("9999-12-31", "9999-12-31T23:59:59-05:00", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59"):
        one = encounter("a") | {"period": {"start": "2026-01-01", "end": end}}
        assert choose_active([one], "p", AT) == "Encounter/a"
    assert choose_active([encounter("a", start="0001-01-01T00:00:00+01:00")], "p", AT) == "Encounter/a"
    never = [{"start": "9999-12-31T23:59:59-05:00"}, {"end": "0001-01-01T00:00:00+01:00"}]
    assert choose_active([encounter("a") | {"period": period} for period in never], "p", AT) is None


def test_a_stay_comes_before_a_visit_and_the_latest_before_an_earlier_one() -> None:
    found = [
        encounter("visit", kind="AMB", start="2026-01-05T00:00:00Z"),
        encounter("old", start="2025-12-01T00:00:00Z"),
        encounter("new", start="2026-01-04T00:00:00Z"),
    ]
    assert choose_active(found, "p", AT) == "Encounter/new"


def test_an_absolute_subject_and_a_missing_period_are_understood() -> None:
    one = encounter("a") | {"subject": {"reference": "https://ehr/r4/Patient/p"}}
    del one["period"]
    assert choose_active([one], "p", AT) == "Encounter/a"


anything = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)
parts = st.dictionaries(st.sampled_from(["id", "class", "period", "subject", "status"]), anything, max_size=5)


@given(st.lists(parts | parts.map(lambda p: encounter("a") | p), max_size=4))
def test_any_json_is_looked_through_and_only_an_active_one_chosen(found: list[dict[str, Any]]) -> None:
    chosen = choose_active(found, "p", AT)
    possible = {f"Encounter/{e['id']}" for e in found if e.get("id") and e.get("status") in list(ACTIVE)}
    assert chosen is None or chosen in possible


@pytest.mark.parametrize("end", ["9999-12-31", "9999-12-31T23:59:59-05:00", "9999-12-31T23:59:59Z"])
def test_an_encounter_that_ends_with_the_calendar_has_no_end(end: str) -> None:
    for_ever = encounter("e1") | {"period": {"start": "2026-01-01", "end": end}}
    assert choose_active([for_ever], "p", AT) == "Encounter/e1"


def test_an_encounter_that_begins_after_the_calendar_has_not_begun() -> None:
    never = encounter("e1") | {"period": {"start": "9999-12-31T23:59:59-05:00"}}
    assert choose_active([never], "p", AT) is None
