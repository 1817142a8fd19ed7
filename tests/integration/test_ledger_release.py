"""`vitalwire ledger release` on a real broker: the order is on `audit.events`, and delivery may take the operation."""

import asyncio
from pathlib import Path

import pytest

from adapters.kafka.producer import KafkaProducer
from adapters.kafka.topic_reader import KafkaTopicReader
from adapters.kafka.topics import create_or_verify
from adapters.ledger import migrate, open_ledger
from adapters.metrics import PrometheusObserver
from schemas.audit import AuditEvent
from schemas.operation import Outcome, State
from schemas.ports.kafka import Outgoing
from schemas.reference import Consent, PatientRecord, Provision
from schemas.topics import AUDIT, CONSENTS, PATIENTS
from streams.runtime.outbox import OutboxPublisher
from testbed.brokers import Broker
from tests.doubles.ledgers import intent
from vitalwire.cli import main


async def admit(bootstrap: str, prefix: str) -> None:
    """The patient of the held result, as the reference topics know it."""
    of = {"tenant_id": "north", "patient_id": intent().patient_id}
    consent = Consent(**of, status="active", permits=[Provision(purpose="vitals")])
    patient = PatientRecord(**of, subject_ids={"north-epic": intent().subject_id})
    key = f"north|{intent().patient_id}".encode()
    producer = KafkaProducer(bootstrap, prefix=prefix)
    await producer.send(
        [
            Outgoing(CONSENTS, key, consent.model_dump_json(by_alias=True).encode()),
            Outgoing(PATIENTS, key, patient.model_dump_json().encode()),
        ]
    )
    await asyncio.to_thread(producer.close)


async def test_a_release_compares_with_the_records_on_kafka_and_its_order_is_published_from_the_ledger(
    embedded_broker: Broker, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_or_verify(embedded_broker.bootstrap_servers, topic_prefix, 1, 1)
    configuration = tmp_path / "vitalwire.yaml"
    configuration.write_text("endpoints: {north-epic: {kind: fhir, base_url: 'https://ehr.example/r4'}}")
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    for name, value in {
        "KAFKA": embedded_broker.bootstrap_servers, "TOPIC_PREFIX": topic_prefix, "DATABASE": url,
        "CONFIG": str(configuration),
    }.items():  # fmt: skip
        monkeypatch.setenv(f"VITALWIRE_{name}", value)
    migrate(url)
    ledger = open_ledger(url, None, subscribers=())
    await admit(embedded_broker.bootstrap_servers, topic_prefix)
    ledger.record([intent()])
    (operation,) = ledger.claim("north-epic", 1, 60)
    ledger.settle({operation.operation_id: Outcome(fence=operation.fence, state=State.HELD, code="forbidden")})

    with pytest.raises(SystemExit) as ended:
        await asyncio.to_thread(main, ["ledger", "release", operation.operation_id, "--reason", "scopes granted"])

    assert not ended.value.code
    assert ledger.states() == {"north-epic": {State.PENDING: 1}}
    producer = KafkaProducer(embedded_broker.bootstrap_servers, prefix=topic_prefix)
    await OutboxPublisher(ledger, producer, PrometheusObserver(), "a worker").publish()
    producer.close()
    ledger.close()
    (stored,) = KafkaTopicReader(embedded_broker.bootstrap_servers, prefix=topic_prefix).read(AUDIT)
    event = AuditEvent.model_validate_json(stored.value or b"")
    assert (event.operation_id, event.reason) == (operation.operation_id, "scopes granted")
    assert b"CANARY" not in (stored.value or b"")
