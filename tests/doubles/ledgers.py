"""Ledgers whose clock a test holds, and the intents, operations and outcomes to fill them with."""

from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import Connection

from adapters.ledger import SqlLedger, migrate, open_ledger
from schemas.audit import AuditEvent
from schemas.instants import epoch_us
from schemas.operation import Intent, Operation, Outcome, Source, State
from schemas.ports.kafka import Outgoing
from schemas.ports.ledger import Ledger, SettlementSubscriber
from schemas.topics import AUDIT, TopicSpec

NOW = datetime(2026, 1, 5, 10, 0, 0, 123456, tzinfo=UTC)
LATER = NOW + timedelta(seconds=61)
KEY = b"k" * 32
LEASE_S = 60.0


class HandClock:
    """The ledger's clock, moved by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self, _db: Connection) -> int:
        return epoch_us(self.now)


def migrated_file(folder: Path) -> str:
    """URL of a new SQLite ledger in this folder: a copy of one that was migrated, since migrating takes far longer."""
    file = folder / "ledger.db"
    file.write_bytes(_migrated())
    return f"sqlite:///{file}"


@cache
def _migrated() -> bytes:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "ledger.db"
        migrate(f"sqlite:///{file}")
        return file.read_bytes()


def ledger_at(url: str, clock: HandClock, key: bytes | None = KEY, *subscribers: SettlementSubscriber) -> SqlLedger:
    return open_ledger(url, key, clock, subscribers=subscribers)


def intent(
    event: str = "w1",
    *,
    patient: str = "p-9",
    content: str = "c1",
    endpoint: str = "north-epic",
    sources: int = 1,
    device: str | None = None,
    **differs: object,
) -> Intent:
    """A heart rate whose payload holds a canary in place of the patient's data; any other field may differ."""
    source = Source(
        event_id=event,
        part_ids=[f"{event}-{n}" for n in range(sources)],
        device_id=device,
        first_time=NOW - timedelta(seconds=59) if device else None,
        last_time=NOW - timedelta(seconds=1) if device else None,
    )
    fields = {
        "tenant_id": "north",
        "endpoint": endpoint,
        "patient_id": patient,
        "subject_id": "eAB3",
        "purpose": "vitals",
        "scope": "heart_rate",
        "resource_type": "Observation",
        "source": source,
        "content_hash": content,
        "occurred_at": NOW,
        "produced_at": NOW,
        "payload": {"resourceType": "Observation", "note": [{"text": "CANARY"}]},
    }
    return Intent.model_validate(fields | differs)


def operation(of: Intent, number: int = 1, state: State = State.IN_PROGRESS, *, in_doubt: bool = False) -> Operation:
    """An operation as a worker holds it."""
    return Operation(
        operation_id=f"op-{number}", sequence=number, intent=of, state=state, in_doubt=in_doubt, created_at=NOW
    )


def in_outbox(ledger: SqlLedger, topic: TopicSpec = AUDIT) -> list[Outgoing]:
    """What of a topic waits to be published."""
    waiting = ledger.lease_outbox("a test", 100_000, 0)
    return [queued.record for queued in waiting if queued.record.topic is topic]


def audited(ledger: SqlLedger) -> list[AuditEvent]:
    """The audit events that wait to be published."""
    return [AuditEvent.model_validate_json(record.value or b"") for record in in_outbox(ledger)]


def reported_windows(ledger: Ledger) -> set[str]:
    """Every window_id that an intent reports."""
    return {window_id for _, part_ids in ledger.window_ids(limit=100_000) for window_id in part_ids}


def claimed_events(ledger: SqlLedger, limit: int = 100) -> list[str]:
    """The source events of what a claim takes."""
    return [operation.intent.source.event_id for operation in ledger.claim("north-epic", limit, LEASE_S)]


def done(state: State = State.SUCCEEDED, fence: int = 1, **more: object) -> Outcome:
    """An outcome of an operation's first claim, unless another fence is given."""
    return Outcome.model_validate({"state": state, "fence": fence, **more})
