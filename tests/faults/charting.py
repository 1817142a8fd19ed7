"""Results of several patients to write to a sandbox EHR, and what its chart must hold afterwards."""

from typing import Any

from schemas.operation import State
from tests.doubles.memory_ledger import MemoryLedger
from tests.ehrs import Ehr

PATIENTS = [f"p{n}" for n in range(6)]
MINUTES = range(3)


def record_results(ehr: Ehr, ledger: MemoryLedger) -> None:
    intents = [ehr.intent(p, minute=m, value=60 + 10 * m + n) for m in MINUTES for n, p in enumerate(PATIENTS)]
    ledger.record(intents)


def assert_chart_agrees(ehr: Ehr, ledger: MemoryLedger) -> None:
    """Every succeeded operation is in the chart once; nothing else is, but for what a person must decide about."""
    succeeded = [o for o in ledger.operations.values() if o.state is State.SUCCEEDED]
    charted = [observation for patient in PATIENTS for observation in ehr.observations(patient)]
    ids = [observation["id"] for observation in charted]
    assert sorted(str(o.resource_id) for o in succeeded) == sorted(ids)
    assert len({_content(observation) for observation in charted}) == len(charted)
    for operation in succeeded:
        observation = next(o for o in charted if o["id"] == operation.resource_id)
        meant = operation.intent.payload
        assert observation["subject"] == meant["subject"]
        assert observation["valueQuantity"]["value"] == meant["valueQuantity"]["value"]


def _content(observation: dict[str, Any]) -> tuple[object, ...]:
    when = observation.get("effectiveDateTime") or observation["effectivePeriod"]["end"]
    return observation["subject"]["reference"], when, observation["valueQuantity"]["value"]
