"""The delivery role as a process: what it charts is on `audit.events` when it has stopped, and its metrics say so."""

import asyncio
import os
import sys
from pathlib import Path

import httpx
import pytest
import yaml

from adapters.kafka.producer import KafkaProducer
from adapters.kafka.topic_reader import KafkaTopicReader
from adapters.kafka.topics import create_or_verify
from adapters.ledger import migrate, open_ledger
from schemas.audit import AuditEvent
from schemas.operation import State
from schemas.ports.kafka import Outgoing
from schemas.reference import Consent, PatientRecord, Provision
from schemas.topics import AUDIT, CONSENTS
from schemas.topics import PATIENTS as PATIENTS_TOPIC
from streams.audit.verification import broken_links
from testbed.brokers import Broker
from testbed.servers.process import ServerProcess, free_port
from tests.conditions import wait_until
from tests.ehrs import NAME, Ehr, sandbox_ehr

PATIENTS = [f"p{n}" for n in range(5)]


async def permit(bootstrap: str, prefix: str) -> None:
    producer = KafkaProducer(bootstrap, prefix=prefix)
    permits = [Provision(purpose="vitals")]
    consents = [Consent(tenant_id="north", patient_id=p, status="active", permits=permits) for p in PATIENTS]
    known = [PatientRecord(tenant_id="north", patient_id=p, subject_ids={NAME: p}) for p in PATIENTS]
    records = [(CONSENTS, one) for one in consents] + [(PATIENTS_TOPIC, one) for one in known]
    await producer.send(
        [
            Outgoing(topic, f"north|{one.patient_id}".encode(), one.model_dump_json(by_alias=True).encode())
            for topic, one in records
        ]
    )
    await asyncio.to_thread(producer.close)


def environment(ehr: Ehr, bootstrap: str, prefix: str, folder: Path, port: int) -> dict[str, str]:
    config = folder / "vitalwire.yaml"
    config.write_text(yaml.safe_dump({"tenants": {"north": {"endpoints": [NAME]}}, "endpoints": {NAME: ehr.section}}))
    settings = {"KAFKA": bootstrap, "TOPIC_PREFIX": prefix, "CONFIG": str(config), "DATA": str(folder)}
    settings |= {"DATABASE": f"sqlite:///{folder / 'ledger.db'}", "METRICS_PORT": str(port)}
    return os.environ | {f"VITALWIRE_{name}": value for name, value in settings.items()}


def test_each_charted_result_is_audited_and_counted(
    embedded_broker: Broker, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bootstrap, port = embedded_broker.bootstrap_servers, free_port()
    create_or_verify(bootstrap, topic_prefix, 1, 1)
    asyncio.run(permit(bootstrap, topic_prefix))
    migrate(f"sqlite:///{tmp_path / 'ledger.db'}")
    ledger = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}", None, subscribers=())
    with sandbox_ehr("fhir", tmp_path) as ehr:
        for patient in PATIENTS:
            ehr.seed(patient)
        recorded = ledger.record([ehr.intent(p) for p in PATIENTS])
        for name, value in environment(ehr, bootstrap, topic_prefix, tmp_path, port).items():
            monkeypatch.setenv(name, value)
        command = [sys.executable, "-m", "vitalwire", "worker", "delivery"]
        worker = ServerProcess("The delivery worker", command, log_file=tmp_path / "log", grace_s=60)
        charted = f'vitalwire_ledger_operations{{endpoint="{NAME}",state="succeeded"}} {len(PATIENTS)}.0'
        try:
            wait_until(lambda: ledger.states() == {NAME: {State.SUCCEEDED: len(PATIENTS)}}, 60, what="charting")
            wait_until(lambda: charted in page(port), what="the count of the ledger")
            timed = page(port)
        finally:
            worker.stop()
    ledger.close()
    assert all(f'vitalwire_ledger_seconds_count{{call="{call}"}}' in timed for call in ("claim", "settle", "states"))
    stored = KafkaTopicReader(bootstrap, prefix=topic_prefix).read(AUDIT)
    events = [AuditEvent.model_validate_json(record.value or b"") for record in stored]
    assert {event.operation_id for event in events} == {one.operation_id for one in recorded}
    assert {(event.role, event.action, event.outcome) for event in events} == {
        ("delivery", "observation.charted", "success")
    }
    assert broken_links(events) == []


def page(port: int) -> str:
    return httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False, timeout=10).text
