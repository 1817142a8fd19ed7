"""A clinical role with a real ledger, mapper and metrics; Kafka and reference data in memory."""

import json
from datetime import datetime
from pathlib import Path

from adapters.ledger import SqlLedger, open_ledger
from adapters.metrics import PrometheusObserver
from mappings.observation.mapper import ObservationMapper
from schemas.audit import AuditEvent
from schemas.config import Config
from schemas.operation import Intent, Operation
from schemas.topics import QUARANTINE
from streams.clinical.recording import ClinicalPorts
from streams.clinical.role import ClinicalRole
from tests.doubles.ledgers import audited, migrated_file
from tests.doubles.ports import KeptFromTheStart, MemoryProducer, StaticReference, fixed_clock

CONFIG = Config.model_validate(
    {
        "tenants": {"north": {"endpoints": ["north-fhir", "north-epic"]}},
        "endpoints": {
            "north-fhir": {"kind": "fhir", "base_url": "http://127.0.0.1:1/fhir"},
            "north-epic": {"kind": "epic", "base_url": "http://127.0.0.1:1/epic"},
        },
    }
)


class ClinicalHarness:
    """A clinical role with its surroundings."""

    def __init__(self, folder: Path, hold_s: float = 60.0) -> None:
        self.ledger: SqlLedger = open_ledger(migrated_file(folder), None, subscribers=())
        self.producer = MemoryProducer()
        self.kept = KeptFromTheStart()
        self.reference = StaticReference()
        self.reference.admit("p-9", north_fhir="fhir-9", north_epic="epic-9")
        self.observer = PrometheusObserver()
        self.mappers = {name: ObservationMapper(CONFIG, name) for name in CONFIG.endpoints}
        self.role = ClinicalRole(
            ClinicalPorts(
                config=lambda: CONFIG,
                reference=self.reference,
                render=lambda endpoint, windows, subject: self.mappers[endpoint].render(windows, subject),
                ledger=self.ledger,
                producer=self.producer,
                observer=self.observer,
                clock=fixed_clock,
                load_kept=self.kept.load,
            ),
            hold_s,
        )

    def permit_during(self, since: datetime | None, until: datetime | None) -> None:
        consent = self.reference.consents["north", "p-9"]
        self.reference.consents["north", "p-9"] = consent.model_copy(update={"since": since, "until": until})

    def operations(self, endpoint: str = "north-fhir") -> list[Operation]:
        return self.ledger.claim(endpoint, 100, 60)

    def intents(self, endpoint: str = "north-fhir") -> list[Intent]:
        return [operation.intent for operation in self.operations(endpoint)]

    def quarantined(self) -> list[dict]:
        return [json.loads(record.value) for record in self.producer.to(QUARANTINE)]

    def audited(self) -> list[AuditEvent]:
        return audited(self.ledger)
