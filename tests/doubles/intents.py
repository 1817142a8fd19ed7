"""Intents for tests of the ledger's users, with a canary wherever a patient's data would stand."""

from schemas.operation import Intent
from tests.doubles.ports import fixed_clock


def intent(event: str = "w1", *, patient: str = "CANARY", endpoint: str = "north-epic") -> Intent:
    return Intent(
        tenant_id="north",
        endpoint=endpoint,
        patient_id=patient,
        subject_id="CANARY",
        source_event_id=event,
        content_hash="c1",
        source_ids=[event, f"{event}-diastolic"],
        vital_type="blood_pressure",
        measured_at=fixed_clock(),
        resource={"resourceType": "Observation", "note": [{"text": "CANARY"}]},
    )
