"""Reference data followed on Kafka: complete, current, and closed where a record cannot be read."""

import json
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapters.kafka.producer import KafkaProducer
from adapters.metrics import PrometheusObserver
from adapters.reference import KafkaReference
from mappings.consent.resource import consent_from_fhir
from schemas.config import Config
from schemas.ports.kafka import Outgoing
from schemas.topics import CONSENTS, PAIRINGS, PATIENTS
from testbed.brokers import start_broker
from tests.conditions import wait_until
from tests.integration.kafka_topics import create

AT = datetime(2026, 1, 5, 10, tzinfo=UTC)


def pairing(device: str, patient: str) -> Outgoing:
    value = {"tenant_id": "north", "device_id": device, "intervals": [{"patient_id": patient, "from": AT.isoformat()}]}
    return Outgoing(PAIRINGS, f"north|{device}".encode(), json.dumps(value).encode())


def consent(patient: str, **more: object) -> Outgoing:
    value = {"tenant_id": "north", "patient_id": patient, "status": "active", "permits": [{"purpose": "vitals"}]}
    return Outgoing(CONSENTS, f"north|{patient}".encode(), json.dumps(value | more).encode())


def patient(name: str) -> Outgoing:
    value = {"tenant_id": "north", "patient_id": name, "subject_ids": {"north-epic": "eAB3"}}
    return Outgoing(PATIENTS, f"north|{name}".encode(), json.dumps(value).encode())


@pytest.fixture
def followed(kafka: str, topic_prefix: str) -> Iterator[Callable[..., KafkaReference]]:
    started: list[KafkaReference] = []

    def follow(observer: PrometheusObserver | None = None) -> KafkaReference:
        reference = KafkaReference(
            kafka,
            consent_from_fhir=consent_from_fhir,
            understand=Config().understood,
            observer=observer or PrometheusObserver(),
            prefix=topic_prefix,
        )
        started.append(reference)
        reference.start()
        reference.wait_until_current(30)
        return reference

    yield follow
    for reference in started:
        reference.close()


async def test_reference_data_is_complete_when_it_is_current(producer: KafkaProducer, followed: Callable):
    await producer.send([*(pairing(f"m-{n}", f"p-{n}") for n in range(2000)), patient("p-1"), consent("p-1")])
    reference = followed()
    assert reference.is_current()
    assert len(reference.pairings()) == 2000
    assert reference.pairings()["north", "m-7"].intervals[0].patient_id == "p-7"
    assert reference.patient("north", "p-1").subject_ids == {"north-epic": "eAB3"}
    assert reference.consent("north", "p-1").allows("vitals", "spo2", "north-epic", AT)
    assert reference.patient("south", "p-1") is None


async def test_reference_data_of_empty_topics_is_current_and_permits_nothing(followed: Callable):
    reference = followed()
    assert reference.consent("north", "p-1") is None
    assert reference.pairings() == {}


async def test_changes_and_tombstones_are_followed_and_grow_the_version(producer: KafkaProducer, followed: Callable):
    await producer.send([pairing("m-1", "p-1"), consent("p-1")])
    reference = followed()
    before, version = reference.pairings(), reference.pairings_version()
    any_version = reference.version()
    await producer.send([Outgoing(CONSENTS, b"north|p-1", None)])
    wait_until(lambda: reference.consent("north", "p-1") is None, what="the consent's end")
    assert reference.version() == any_version  # so that nobody goes through pairings and patients for a consent
    await producer.send([pairing("m-1", "p-2")])
    wait_until(lambda: reference.pairings_version() > version, what="the new pairing")
    assert reference.pairings()["north", "m-1"].intervals[0].patient_id == "p-2"
    assert before is reference.pairings()  # one change copies nothing
    assert reference.pairing("north", "m-1") is before["north", "m-1"]
    assert reference.version() > any_version


@pytest.mark.parametrize(
    "broken", [b"{", b"[]", b"7", b"null", b"\xff", b'{"tenant_id":"north","patient_id":"p-2","status":"active"}']
)
async def test_a_record_that_cannot_be_understood_closes_its_key_and_is_reported_without_its_content(
    producer: KafkaProducer, followed: Callable, broken: bytes, caplog: pytest.LogCaptureFixture
):
    observer = PrometheusObserver()
    with caplog.at_level(logging.WARNING):
        await producer.send([consent("p-1"), consent("p-3"), Outgoing(CONSENTS, b"north|p-1", broken)])
        reference = followed(observer)
    assert reference.consent("north", "p-1") is None
    assert reference.consent("north", "p-3") is not None
    assert 'reference_malformed_total{topic="reference.consents"} 1.0' in observer.exposition().decode()
    assert "reference.consents" in caplog.text
    assert "p-1" not in caplog.text


async def test_a_broken_pairing_leaves_the_device_unpaired_rather_than_paired_as_before(
    producer: KafkaProducer, followed: Callable
):
    await producer.send([pairing("m-1", "p-1"), Outgoing(PAIRINGS, b"north|m-1", b"{")])
    assert followed().pairings() == {}


async def test_a_fhir_consent_is_taken_for_the_patient_of_its_key(producer: KafkaProducer, followed: Callable):
    resource = {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"code": "patient-privacy"}]},
        "category": [{"coding": [{"code": "59284-0"}]}],
        "provision": {"type": "permit"},
    }
    await producer.send([Outgoing(CONSENTS, b"north|p-1", json.dumps(resource).encode())])
    taken = followed().consent("north", "p-1")
    assert taken == consent_from_fhir(resource, "north", "p-1")


def test_reference_data_is_no_longer_current_when_the_broker_is_away_and_current_again_when_it_is_back(tmp_path: Path):
    with start_broker("apache", data_directory=tmp_path / "data", log_file=tmp_path / "log") as own:
        create(own.bootstrap_servers, "")
        reference = KafkaReference(
            own.bootstrap_servers,
            consent_from_fhir=consent_from_fhir,
            understand=Config().understood,
            observer=PrometheusObserver(),
            stale_after_s=3.0,
        )
        reference.start()
        reference.wait_until_current(30)
        own.stop()
        wait_until(lambda: not reference.is_current(), what="staleness")
        own.start()
        reference.wait_until_current(60)
        reference.close()
