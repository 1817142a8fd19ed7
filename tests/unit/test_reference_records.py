"""Records of the reference topics: what limits a pairing or a consent is understood, or the record is not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from schemas.config import Config
from schemas.reference import Consent, Pairing, PatientRecord

INTERVAL = {"patient_id": "p-9", "from": "2026-01-05T08:00:00Z"}
CONSENT = {"tenant_id": "north", "patient_id": "p-9", "status": "active", "permits": [{"purpose": "vitals"}]}


def pairing(**more: Any) -> Pairing:
    return Pairing.model_validate({"tenant_id": "north", "device_id": "mon-17", "intervals": [INTERVAL | more]})


def test_a_pairing_may_contain_the_location_of_the_device() -> None:
    assert pairing(location="icu-2/bed-4", until=None).intervals[0].patient_id == "p-9"


@pytest.mark.parametrize("name", ["to", "end", "since", "valid_until", "Until"])
def test_a_pairing_that_may_end_by_another_name_is_not_interpreted_as_unlimited(name: str) -> None:
    with pytest.raises(ValidationError):
        pairing(**{name: "2026-01-06T08:00:00Z"})


@pytest.mark.parametrize("number", [0, 1767600000, "1767600000", 1.5])
def test_a_bare_number_is_not_a_time(number: object) -> None:
    with pytest.raises(ValidationError):
        pairing(until=number)
    with pytest.raises(ValidationError):
        Consent.model_validate(CONSENT | {"from": number})


@pytest.mark.parametrize(
    "more",
    [
        {"to": "2026-01-01T00:00:00Z"},
        {"deny": [{"purpose": "vitals"}]},
        {"permits": [{"purpose": "vitals", "type": ["spo2"]}]},
        {"permits": [{"purpose": "vitals", "endpoint": ["south"]}]},
        {"denies": [{"purpose": "vitals", "until": "2026-01-01T00:00:00Z"}]},
    ],
    ids=lambda more: next(iter(more)),
)
def test_a_consent_with_an_unknown_limit_is_not_interpreted_as_unlimited(more: dict[str, Any]) -> None:
    assert Consent.model_validate(CONSENT).permits
    with pytest.raises(ValidationError):
        Consent.model_validate(CONSENT | more)


@pytest.mark.parametrize("odd", ["\ud800", "no\0rth", "north\n", "\x7f", "\x85"])
def test_a_name_that_databases_refuse_is_refused(odd: str) -> None:
    subject_ids = [{odd: "a"}, {"north": odd}]
    for names in subject_ids:
        with pytest.raises(ValidationError):
            PatientRecord.model_validate({"tenant_id": "north", "patient_id": "p-9", "subject_ids": names})
    for name in ("patient_id", "tenant_id"):
        with pytest.raises(ValidationError):
            Consent.model_validate(CONSENT | {name: odd})
    with pytest.raises(ValidationError):
        pairing(patient_id=odd)


def test_names_in_any_script_are_accepted() -> None:
    names = {"Nord-Ø": "Jürgen", "北": "患者 1"}
    record = {"tenant_id": "عيادة", "patient_id": "नमस्ते", "subject_ids": names}
    assert PatientRecord.model_validate(record).subject_ids == names


@pytest.mark.parametrize(
    ("denial", "permitted"),
    [
        ({"types": ["heart_rate"]}, False),
        ({"types": ["spo2"]}, True),
        ({"types": ["heart rate"]}, False),
        ({"types": ["Heart_Rate"]}, False),
        ({"types": ["spo2", "8867-4"]}, False),
        ({"types": []}, False),
        ({"endpoints": []}, False),
        ({"endpoints": ["North "]}, False),
        ({"endpoints": ["south"]}, True),
        ({"purpose": "documents", "types": ["?"]}, True),
    ],
)
def test_a_denial_that_is_not_understood_covers_everything(denial: dict[str, Any], permitted: bool) -> None:
    consent = Consent.model_validate(CONSENT | {"denies": [{"purpose": "vitals"} | denial]})
    assert consent.allows("vitals", "heart_rate", "north", datetime(2026, 1, 5, tzinfo=UTC)) is permitted


NORTH = {"kind": "fhir", "base_url": "https://ehr.example/r4"}
OWN = {
    "range": [0, 9],
    "definition": {
        "codes": [{"code": "1234-5", "display": "Own"}],
        "unit": "1",
        "unit_text": "1",
        "range": [0, 9],
    },
}
CONFIG = Config.model_validate({"endpoints": {"north": NORTH, "south": NORTH}, "vitals": {"own_score": OWN}})


def charts(denial: dict[str, Any], vital_type: str = "heart_rate", endpoint: str = "north") -> bool:
    consent = Consent.model_validate(CONSENT | {"denies": [{"purpose": "vitals"} | denial]})
    return CONFIG.understood(consent).allows("vitals", vital_type, endpoint, datetime(2026, 1, 5, tzinfo=UTC))


@pytest.mark.parametrize(
    "denial",
    [
        {"types": ["heart rate"]},
        {"types": ["Heart_Rate"]},
        {"types": ["8867-4"]},
        {"types": ["spo2", "heart_rate "]},
        {"types": []},
        {"endpoints": ["North"]},
        {"endpoints": ["south", "nroth"]},
        {"endpoints": []},
    ],
    ids=str,
)
def test_a_denial_of_an_unknown_name_denies_everything(denial: dict[str, Any]) -> None:
    assert not charts(denial)


@pytest.mark.parametrize("types", [["spo2"], ["own_score"], ["blood_pressure"], ["systolic_bp", "glucose"]])
def test_a_denial_that_is_understood_denies_what_it_names_and_nothing_else(types: list[str]) -> None:
    assert charts({"types": types})
    assert not charts({"types": types}, types[0])
    assert charts({"types": types, "endpoints": ["south"]}, types[0])
    assert charts({"types": ["*"], "endpoints": ["south"]})
