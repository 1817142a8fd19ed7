"""Intents for tests of the ledger's users, with a canary wherever a patient's data would stand."""

from schemas.operation import Intent, Source
from tests.doubles.ports import fixed_clock


def intent(event: str = "w1", *, patient: str = "CANARY", endpoint: str = "north-epic") -> Intent:
    return Intent(
        tenant_id="north",
        endpoint=endpoint,
        patient_id=patient,
        subject_id="CANARY",
        purpose="vitals",
        scope="blood_pressure",
        resource_type="Observation",
        source=Source(event_id=event, part_ids=[event, f"{event}-diastolic"]),
        content_hash="c1",
        occurred_at=fixed_clock(),
        payload={"resourceType": "Observation", "note": [{"text": "CANARY"}]},
    )
