"""Writes a ledger with the code of the checkout it is run in (schema revision 0005): see README.md beside it."""

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from streams.settlement_audit import audited

from adapters.ledger import migrate, open_ledger
from adapters.ledger.rows import us
from schemas.audit import Step
from schemas.operation import Intent, Outcome, State
from schemas.ports import Beside, Outgoing, Position, Reached
from schemas.topics import CORRECTIONS

NOW = datetime(2026, 1, 5, 10, 0, 0, 123456, tzinfo=UTC)
KEY = b"k" * 32
SETTLED = (State.SUCCEEDED, State.FAILED, State.DEFERRED, State.UNKNOWN, State.QUARANTINED, State.HELD)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self, _db: object) -> int:
        return us(self.now)


def intent(event: str, content: str = "c1", *, panel: bool = False) -> Intent:
    windows = [event, f"{event}-diastolic"] if panel else [event]
    return Intent(
        tenant_id="north",
        endpoint="north-epic",
        patient_id=f"patient of {event}",
        subject_id="eAB3",
        source_event_id=event,
        content_hash=content,
        source_ids=windows,
        device_id="mon-17",
        first_time=NOW - timedelta(seconds=71),
        last_time=NOW - timedelta(seconds=13),
        vital_type="blood_pressure" if panel else "heart_rate",
        measured_at=NOW - timedelta(seconds=11),
        resource={
            "resourceType": "Observation",
            "status": "final",
            "subject": {"reference": "Patient/eAB3"},
            "valueQuantity": {"value": 36.6, "unit": "/min"},
        },
        window_closed_at=NOW - timedelta(seconds=1),
    )


def recorded(intents: list[Intent]):
    def beside(entries):
        fresh = [(one, entry) for one, entry in zip(intents, entries, strict=True) if not entry.duplicate]
        return Beside(
            "clinical",
            [
                Step("north", "operation.recorded", "success", e.operation_id, i.endpoint, i.source_event_id)
                for i, e in fresh
            ],
        )

    return beside


def main(file: Path) -> None:
    url, clock = f"sqlite:///{file}", Clock()
    migrate(url)
    ledger = open_ledger(url, KEY, clock)
    ledger.take_up("vitals.windows", {0: Reached(None, 0)}, 1.0, Beside("clinical"))
    intents = [intent(str(state)) for state in SETTLED]
    intents += [intent("amended"), intent("panel", panel=True), intent("in_progress")]
    ledger.record(intents, Position("vitals.windows", 0, 12), recorded(intents))
    outcomes, besides = {}, {}
    for operation in ledger.claim("north-epic", 100, 60.0):
        event = operation.intent.source_event_id
        if event == "in_progress":
            continue
        state = State.SUCCEEDED if event in {"amended", "panel"} else State(event)
        outcome = Outcome(
            state=state,
            fence=operation.fence,
            http_status=201 if state is State.SUCCEEDED else 500,
            code=None if state is State.SUCCEEDED else f"code-{state}",
            message="why",
            resource_id=f"obs-{event}" if state is State.SUCCEEDED else None,
            version="1" if state is State.SUCCEEDED else None,
            retry_after_s=30,
            request=b'{"sent":1}',
            response=b'{"answered":1}',
        )
        outcomes[operation.operation_id] = outcome
        besides[operation.operation_id] = audited(operation, outcome)
    ledger.settle(outcomes, besides)
    clock.now = NOW + timedelta(seconds=5)
    later = [intent("amended", "c2"), intent("pending"), intent("pending", "c2")]
    ledger.record(later, Position("vitals.windows", 0, 15), recorded(later))
    ledger.mark_reviewed(
        "pairing",
        {ledger.name("north", "mon-17"): "print"},
        Beside("delivery", records=[Outgoing(CORRECTIONS, b"k", b"v")]),
    )
    ledger.outbox("a worker", 1, 0.0)
    ledger.close()


main(Path(sys.argv[1]))
