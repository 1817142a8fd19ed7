"""Which of a patient's encounters a result belongs to."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from adapters.ehr.encounters import ACTIVE, choose_active

AT = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


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
