"""A denial on the reference topic that names what is not configured, as a worker reads it: it denies, and somebody is told."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME

from adapters.metrics import PrometheusObserver
from adapters.reference.tables import Tables
from mappings.consent.resource import consent_from_fhir
from schemas.config import Config
from schemas.operation import Operation, State
from schemas.reference import Consent
from schemas.topics import CONSENTS
from tests.doubles.ledgers import intent
from tests.doubles.ports import StaticReference
from vitalwire import release_review
from vitalwire.settings import from_environment

CONFIG = Config.model_validate({"endpoints": {"north": {"kind": "fhir", "base_url": "https://ehr.example/r4"}}})
AT = datetime(2026, 1, 5, tzinfo=UTC)


class ReadRecord:
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
    tables.apply(ReadRecord(denial))
    consent = tables.consents.values["north", "p-9"]
    assert consent.allows("vitals", "heart_rate", "north", AT) is charts
    counted = observer.registry.get_sample_value("vitalwire_reference_malformed_total", {"topic": CONSENTS.name})
    assert (counted or 0) == told


class Followed(StaticReference):
    """The reference topics as read to their end: one consent, as the reader was asked to understand it."""

    def __init__(self, _bootstrap: str, understand: Callable[[Consent], Consent], **_: object) -> None:
        super().__init__()
        self.admit("p-9", north_epic="CANARY")
        tables = Tables("", consent_from_fhir, PrometheusObserver(), understand)
        tables.apply(ReadRecord({"types": ["bloodpressure"]}))
        self.consents |= tables.consents.values

    def start(self) -> None:
        """Nothing to follow."""

    def wait_until_current(self, _within_s: float) -> None:
        """It is current."""

    def close(self) -> None:
        """Nothing to close."""


def test_a_release_understands_a_denial_as_the_workers_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config_file = tmp_path / "vitalwire.yaml"
    config_file.write_text(CONFIG.model_dump_json(exclude_unset=True))
    monkeypatch.setenv("VITALWIRE_CONFIG", str(config_file))
    monkeypatch.setenv("VITALWIRE_KAFKA", "kafka.example:9092")
    monkeypatch.setattr(release_review, "KafkaReference", Followed)
    held = Operation.model_construct(operation_id="one", state=State.HELD, intent=intent(scope="blood_pressure"))
    with release_review.current_reference(from_environment()) as reference:
        compared = release_review.compared([held], reference, AT)
    assert compared.kept == {"one": "no_consent"}
    assert not compared.ready
