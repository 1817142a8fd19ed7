"""Every Kafka topic: its name, key, and the broker settings that its guarantees depend on."""

from __future__ import annotations

from dataclasses import dataclass, field

DAY_MS = 86_400_000
HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as `vitalwire topics` creates and verifies it. `partitions=None` means the deployment's default."""

    name: str
    key: str
    description: str
    settings: dict[str, str] = field(default_factory=dict, hash=False)
    partitions: int | None = None

    def prefixed(self, prefix: str) -> str:
        """The topic's name on the broker."""
        return prefix + self.name


def _kept(days: int) -> dict[str, str]:
    return {"cleanup.policy": "delete", "retention.ms": str(days * DAY_MS)}


_COMPACTED = {"cleanup.policy": "compact", "delete.retention.ms": str(30 * DAY_MS)}
# Of two records with one key the one appended last is valid, in whatever partition: so the broker sets the timestamps.
# If compaction removed a tombstone, an older record in another partition would become valid again: so it is retained.
_REFERENCE = _COMPACTED | {"message.timestamp.type": "LogAppendTime", "delete.retention.ms": str(36_500 * DAY_MS)}
_RESTRICTED = {"cleanup.policy": "delete", "retention.ms": str(90 * DAY_MS)}
# A quarantine record contains the original record: the largest that the broker accepts must still fit.
_WRAPS_OTHERS = {"max.message.bytes": str(4 * 1024 * 1024)}
# Reconciliation looks quarantine records up by append time: so the broker sets their timestamps, as it does for readings.
_QUARANTINED = _RESTRICTED | _WRAPS_OTHERS | {"message.timestamp.type": "LogAppendTime"}

READINGS = TopicSpec(
    "telemetry.readings",
    "device_id",
    "readings and frames as devices send them",
    _kept(7) | {"message.timestamp.type": "LogAppendTime"},
)
WINDOWS_KEPT_MS = 30 * DAY_MS
"""How long windows can be read again; the ledger must retain their operations for longer."""
WINDOWS = TopicSpec("vitals.windows", "tenant_id|patient_id", "every closed window", _kept(WINDOWS_KEPT_MS // DAY_MS))
LATE_READINGS = TopicSpec("vitals.late", "device_id", "readings whose window had closed", _QUARANTINED)
QUARANTINE = TopicSpec(
    "vitals.quarantine", "device_id", "quarantined readings and windows, with the reason", _QUARANTINED
)
PROGRESS = TopicSpec(
    "vitals.progress",
    "tenant_id|device_id",
    "closed-through times per device, one partition a source partition",
    _COMPACTED | {"min.compaction.lag.ms": str(10 * 60_000)},
)
PAIRINGS = TopicSpec(
    "reference.pairings", "tenant_id|device_id", "which patient a device measured, and when", _REFERENCE
)
PATIENTS = TopicSpec("reference.patients", "tenant_id|patient_id", "the patient's ids at each endpoint", _REFERENCE)
CONSENTS = TopicSpec("reference.consents", "tenant_id|patient_id", "what the patient permits", _REFERENCE)
CORRECTIONS = TopicSpec(
    "vitals.corrections",
    "tenant_id|patient_id",
    "charted results that contradict a corrected pairing or patient",
    _RESTRICTED,
)
COMMANDS_VITALS = TopicSpec("commands.vitals", "tenant_id|patient_id", "vitals to chart at once", _kept(7))
COMMANDS_DOCUMENTS = TopicSpec("commands.documents", "tenant_id|patient_id", "documents to file", _kept(7))
COMMANDS_PATIENT_INFO = TopicSpec(
    "commands.patient-info", "tenant_id|patient_id", "requests for patient data", _kept(7)
)
REPLIES_VITALS = TopicSpec("replies.vitals", "command_id", "replies to vitals commands", _kept(7))
REPLIES_DOCUMENTS = TopicSpec("replies.documents", "command_id", "replies to document commands", _kept(7))
REPLIES_PATIENT_INFO = TopicSpec("replies.patient-info", "command_id", "replies with patient data", _kept(7))
ALERTS = TopicSpec(
    "alerts.events", "tenant_id|patient_id", "alerts raised, escalated, acknowledged, cleared", _kept(30)
)
AUDIT = TopicSpec("audit.events", "tenant_id", "who did what to whose data, hash-chained", _RESTRICTED)
HEARTBEATS = TopicSpec(
    "ops.heartbeats",
    "role|instance",
    "which workers are alive",
    {"cleanup.policy": "compact,delete", "retention.ms": str(HOUR_MS)},
)
DLQ_TELEMETRY = TopicSpec(
    "dlq.telemetry", "unchanged", "records that the telemetry role could not process", _kept(30) | _WRAPS_OTHERS
)
DLQ_CLINICAL = TopicSpec(
    "dlq.clinical", "unchanged", "records that the clinical role could not process", _kept(30) | _WRAPS_OTHERS
)

ALL: tuple[TopicSpec, ...] = (
    READINGS,
    WINDOWS,
    LATE_READINGS,
    QUARANTINE,
    PROGRESS,
    PAIRINGS,
    PATIENTS,
    CONSENTS,
    CORRECTIONS,
    COMMANDS_VITALS,
    COMMANDS_DOCUMENTS,
    COMMANDS_PATIENT_INFO,
    REPLIES_VITALS,
    REPLIES_DOCUMENTS,
    REPLIES_PATIENT_INFO,
    ALERTS,
    AUDIT,
    HEARTBEATS,
    DLQ_TELEMETRY,
    DLQ_CLINICAL,
)
