"""A few devices by hand: pairings, single readings with offsets of their own choosing, and the report that follows."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Any

import orjson
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.report import ReconciliationReport
from schemas.topics import CONSENTS, PAIRINGS, PATIENTS, READINGS, TopicSpec
from tests.conditions import wait_until
from tests.system.command import vitalwire_command
from tests.system.installation import Installation
from tests.system.recording import BASE_MS, ENDPOINT, TENANT
from vitalwire.reconcile import reconciled

SECTION: dict[str, Any] = {"kind": "fhir", "base_url": "https://fhir.example/r4"}
"""An EHR that nothing is sent to: for tests without a delivery worker."""


def at(second: float) -> int:
    """This second of the bedside's day, in epoch ms; windows begin at whole tens."""
    return BASE_MS + round(second * 1000)


def reading(device: str, second: float, value: float = 72, **more: Any) -> bytes:
    """A heart rate at this second."""
    plain = {"type": "heart_rate", "value": value, "unit": "/min", "time": at(second)}
    return orjson.dumps({"tenant_id": TENANT, "device_id": device} | plain | more)


def frame(device: str, seconds: Sequence[float]) -> bytes:
    """A frame of one heart rate a second."""
    readings = [{"type": "heart_rate", "value": 72, "unit": "/min", "time": at(second)} for second in seconds]
    return orjson.dumps({"tenant_id": TENANT, "device_id": device, "readings": readings})


class Bedside:
    """Sends to an installation's topics, each record confirmed before the next."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self._producer = Producer(
            {"bootstrap.servers": installation.bootstrap_servers, "enable.idempotence": True, "log_level": 0}
        )

    def admit(self, patient: str) -> None:
        """A patient known at the endpoint, who permits everything."""
        named = {"tenant_id": TENANT, "patient_id": patient}
        self._publish(PATIENTS, patient, named | {"subject_ids": {ENDPOINT: f"s-{patient}"}})
        self._publish(CONSENTS, patient, named | {"status": "active", "permits": [{"purpose": "vitals"}]})

    def pair(self, device: str, patient: str | None) -> None:
        """The device is this patient's, since long ago; or nobody's."""
        interval = {"patient_id": patient, "from": "2020-01-01T00:00:00Z", "until": None}
        intervals = [] if patient is None else [interval]
        self._publish(PAIRINGS, device, {"tenant_id": TENANT, "device_id": device, "intervals": intervals})

    def send(self, *values: bytes, partition: int = 0) -> None:
        """These records, to one partition."""
        for value in values:
            self._producer.produce(READINGS.prefixed(self.installation.prefix), value, b"d", partition)
            self._flush()

    def retain(self, topic: TopicSpec, first: int, partition: int = 0) -> None:
        """Take away what is before this offset, as retention does."""
        admin = AdminClient({"bootstrap.servers": self.installation.bootstrap_servers})
        place = TopicPartition(topic.prefixed(self.installation.prefix), partition, first)
        admin.delete_records([place])[place].result()

    def reconcile_exit_code(self) -> int:
        """How `vitalwire reconcile` ends."""
        command = vitalwire_command("reconcile", environment=self.installation.environment)
        return subprocess.run(command, capture_output=True, check=False).returncode

    def report(self) -> ReconciliationReport:
        """What reconciliation says now."""
        return reconciled(self.installation.settings, self.installation.ledger)

    def report_when_quiet(self, **expected: int) -> ReconciliationReport:
        """The report once nothing is unread, no window is open unless told, and every window has its place."""
        wanted = {"unread": 0, "in_open_windows": 0} | expected

        def quiet() -> ReconciliationReport | None:
            report = self.report()
            placed = report.windows_not_published + report.quarantined_windows + report.windows_in_intents
            counted = {name: getattr(report, name) for name in wanted}
            return report if counted == wanted and placed == report.windows else None

        try:
            return wait_until(quiet, 60, what=f"a quiet installation with {wanted}")
        except AssertionError as slow:
            raise AssertionError(f"{slow}: {self.report()}") from None

    def _publish(self, topic: TopicSpec, name: str, value: object) -> None:
        key = f"{TENANT}|{name}".encode()
        self._producer.produce(topic.prefixed(self.installation.prefix), orjson.dumps(value), key)
        self._flush()

    def _flush(self) -> None:
        assert self._producer.flush(30) == 0
