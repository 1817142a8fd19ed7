from datetime import UTC, datetime

import pytest

from schemas.reference import Consent, Provision

AT = datetime(2026, 1, 5, 10, tzinfo=UTC)


def consent(permits: list[str], denies: list[str] = []) -> Consent:  # noqa: B006 (never changed)
    return Consent(
        tenant_id="north",
        patient_id="p-9",
        status="active",
        permits=[Provision(purpose="vitals", types=permits)],
        denies=[Provision(purpose="vitals", types=denies)] if denies else [],
    )


@pytest.mark.parametrize("permits", [["*"], ["blood_pressure"], ["systolic_bp", "diastolic_bp"]])
def test_a_panel_is_permitted_by_name_or_by_all_its_members(permits: list[str]):
    assert consent(permits).allows("vitals", "blood_pressure", "north-epic", AT)


def test_a_panel_is_not_permitted_by_one_of_its_members():
    assert not consent(["systolic_bp"]).allows("vitals", "blood_pressure", "north-epic", AT)


@pytest.mark.parametrize("denied", ["blood_pressure", "systolic_bp", "diastolic_bp", "*"])
def test_denying_the_panel_or_one_member_denies_the_panel(denied: str):
    assert not consent(["*"], [denied]).allows("vitals", "blood_pressure", "north-epic", AT)


def test_denying_another_vital_leaves_the_panel_permitted():
    assert consent(["*"], ["heart_rate"]).allows("vitals", "blood_pressure", "north-epic", AT)
