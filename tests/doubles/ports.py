"""Ports of the core kept in memory, for tests of what is decided rather than of Kafka."""

from collections.abc import Sequence
from datetime import UTC, datetime

from schemas.errors import RetryLater
from schemas.ports.kafka import Outgoing, PartitionOffsets, Producer
from schemas.ports.observer import Observer
from schemas.reference import Consent, Pairing, PairingInterval, PatientRecord, Provision
from schemas.topics import READINGS, TopicSpec
from streams.audit.trail import AuditChain, AuditTrail
from streams.telemetry.retention import Retention


class MemoryProducer:
    """Keeps what was sent; refuses the next `away` times."""

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []
        self.away = 0

    async def send(self, records: Sequence[Outgoing]) -> None:
        if self.away:
            self.away -= 1
            raise RetryLater(after_s=0)
        self.sent += records

    def to(self, topic: TopicSpec) -> list[Outgoing]:
        return [record for record in self.sent if record.topic is topic]


class KeptFromTheStart:
    """Nothing committed, nothing removed, unless a test says so."""

    def __init__(self) -> None:
        self.kept = PartitionOffsets(None, 0)

    async def load(self, _partition: int) -> PartitionOffsets:
        return self.kept


def retention(producer: Producer, observer: Observer, kept: KeptFromTheStart | None = None) -> Retention:
    """What looks for gaps, with the tenant `north`."""
    audit = AuditTrail(AuditChain("telemetry", "t-1"), producer, fixed_clock, observer)
    return Retention(READINGS.name, ["north"], (kept or KeptFromTheStart()).load, audit, observer)


class StaticReference:
    """Reference data as a test sets it."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], PatientRecord] = {}
        self.consents: dict[tuple[str, str], Consent] = {}
        self.paired: dict[tuple[str, str], Pairing] = {}
        self.closed: set[tuple[str, str]] = set()
        """Devices and patients of whom nobody can tell what the records say."""
        self.changes = 0
        self.stale = 0

    def admit(self, patient_id: str, *, tenant_id: str = "north", **subject_ids: str) -> None:
        """A patient known at these endpoints (`north_fhir="id"`), who permits everything."""
        key = (tenant_id, patient_id)
        names = {name.replace("_", "-"): subject for name, subject in subject_ids.items()}
        self.records[key] = PatientRecord(tenant_id=tenant_id, patient_id=patient_id, subject_ids=names)
        permits = [Provision(purpose="vitals")]
        self.consents[key] = Consent(tenant_id=tenant_id, patient_id=patient_id, status="active", permits=permits)

    def pair(self, device_id: str, *intervals: PairingInterval, tenant_id: str = "north") -> None:
        """The device measured these patients; replaces what was known of it."""
        key = (tenant_id, device_id)
        self.paired[key] = Pairing(tenant_id=tenant_id, device_id=device_id, intervals=list(intervals))
        self.changes += 1

    def version(self) -> int:
        return self.changes

    def pairings_version(self) -> int:
        return self.changes

    def pairings(self) -> dict[tuple[str, str], Pairing]:
        return {key: pairing for key, pairing in self.paired.items() if key not in self.closed}

    def patients(self) -> dict[tuple[str, str], PatientRecord]:
        return self.records

    def pairing(self, tenant_id: str, device_id: str) -> Pairing | None:
        key = (tenant_id, device_id)
        return None if key in self.closed else self.paired.get(key)

    def patient(self, tenant_id: str, patient_id: str) -> PatientRecord | None:
        return self.records.get((tenant_id, patient_id))

    def consent(self, tenant_id: str, patient_id: str) -> Consent | None:
        key = (tenant_id, patient_id)
        return None if key in self.closed else self.consents.get(key)

    def consent_in_doubt(self, tenant_id: str, patient_id: str) -> bool:
        return (tenant_id, patient_id) in self.closed

    def is_current(self) -> bool:
        if self.stale:
            self.stale -= 1
            return False
        return True


def fixed_clock() -> datetime:
    return datetime(2026, 1, 5, 10, 1, 12, tzinfo=UTC)
