"""A delivery worker killed between the ledger and Kafka: when another has run, the audit trail is whole."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from adapters.kafka.topic_reader import KafkaTopicReader
from adapters.kafka.topics import create_or_verify
from adapters.ledger import SqlLedger, migrate, open_ledger
from schemas.audit import AuditEvent
from schemas.operation import State
from schemas.topics import AUDIT
from streams.audit.verification import broken_links
from testbed.brokers import Broker
from testbed.servers.process import ServerProcess, free_port
from tests.conditions import wait_until
from tests.ehrs import NAME, sandbox_ehr
from tests.integration.test_delivery_worker import PATIENTS, environment, permit

_KILLED = """
import os, signal
from adapters.ledger import ObservedLedger
from streams.runtime.outbox import OutboxPublisher
def die(*_ignored):
    os.kill(os.getpid(), signal.SIGKILL)
{place} = die
from vitalwire.cli import main
main(["worker", "delivery"])
"""


@pytest.mark.parametrize(
    "place",
    [
        pytest.param("OutboxPublisher._send", id="settled-and-not-published"),
        pytest.param("ObservedLedger.confirm_sent", id="published-and-not-noted"),
    ],
)
def test_no_audit_event_is_lost_or_doubled_by_a_worker_killed_between_ledger_and_kafka(
    broker: Broker, topic_prefix: str, postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    bootstrap = broker.bootstrap_servers
    create_or_verify(bootstrap, topic_prefix, 1, 1)
    asyncio.run(permit(bootstrap, topic_prefix))
    migrate(postgres)
    ledger = open_ledger(postgres, None, subscribers=())
    with sandbox_ehr("fhir", tmp_path) as ehr:
        for patient in PATIENTS:
            ehr.seed(patient)
        recorded = ledger.record([ehr.intent(p) for p in PATIENTS])
        settings = environment(ehr, bootstrap, topic_prefix, tmp_path, free_port()) | {"VITALWIRE_DATABASE": postgres}
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        killed = subprocess.run([sys.executable, "-c", _KILLED.format(place=place)], timeout=120, check=False)
        assert killed.returncode == -9
        assert State.SUCCEEDED in ledger.states()[NAME]
        _end_leases(ledger)

        command = [sys.executable, "-m", "vitalwire", "worker", "delivery"]
        worker = ServerProcess("The delivery worker", command, log_file=tmp_path / "log", grace_s=60)
        try:
            wait_until(lambda: _is_over(ledger), 120, what="publishing")
        finally:
            worker.stop()
    ledger.close()
    stored = KafkaTopicReader(bootstrap, prefix=topic_prefix).read(AUDIT)
    events = {record.value: AuditEvent.model_validate_json(record.value or b"") for record in stored}
    charted = [event.operation_id for event in events.values() if event.action == "observation.charted"]
    assert sorted(map(str, charted)) == sorted(one.operation_id for one in recorded)
    assert broken_links(events.values()) == []


def _end_leases(ledger: SqlLedger) -> None:
    """An hour passes for what the killed worker held."""
    with ledger._engine.begin() as db:
        for statement in (
            "UPDATE operations SET due_us = due_us - 3600000000",
            "UPDATE ordering_keys SET due_us = due_us - 3600000000",
            "UPDATE outbox_lease SET until_us = 0",
        ):
            db.execute(text(statement))


def _is_over(ledger: SqlLedger) -> bool:
    return ledger.states() == {NAME: {State.SUCCEEDED: len(PATIENTS)}} and ledger.oldest_outbox_age_s() is None
