"""A denial on the reference topic that names what is not configured, as a worker reads it: it denies, and somebody is told."""

import json
from datetime import UTC, datetime

import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME

from adapters.metrics import PrometheusObserver
from adapters.reference.tables import Tables
from mappings.consent import consent_from_fhir
from schemas.config import Config
from schemas.topics import CONSENTS

CONFIG = Config.model_validate({"endpoints": {"north": {"kind": "fhir", "base_url": "https://ehr.example/r4"}}})
AT = datetime(2026, 1, 5, tzinfo=UTC)


class Written:
    """A record of the consents topic."""

    def __init__(self, denial: dict[str, object]) -> None:
        said = {"tenant_id": "north", "patient_id": "p-9", "status": "active", "permits": [{"purpose": "vitals"}]}
        self._value = json.dumps(said | {"denies": [{"purpose": "vitals"} | denial]}).encode()

    def topic(self) -> str:
        return CONSENTS.name

    def key(self) -> bytes:
        return b"north|p-9"

    def value(self) -> bytes:
        return self._value

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 0

    def timestamp(self) -> tuple[int, int]:
        return TIMESTAMP_LOG_APPEND_TIME, 1


@pytest.mark.parametrize(
    ("denial", "charts", "told"),
    [
        ({"types": ["Heart_Rate"]}, False, 1),
        ({"types": []}, False, 1),
        ({"endpoints": ["North"]}, False, 1),
        ({"types": ["spo2"], "endpoints": ["north"]}, True, 0),
    ],
)
def test_a_denial_of_what_is_not_configured_denies_and_is_counted(
    denial: dict[str, object], charts: bool, told: int
) -> None:
    observer = PrometheusObserver()
    tables = Tables("", consent_from_fhir, observer, CONFIG.understood)
    tables.take(Written(denial))
    consent = tables.consents.values["north", "p-9"]
    assert consent.allows("vitals", "heart_rate", "north", AT) is charts
    counted = observer.registry.get_sample_value("vitalwire_reference_malformed_total", {"topic": CONSENTS.name})
    assert (counted or 0) == told
