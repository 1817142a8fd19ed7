"""A ledger for the `vitalwire ledger` commands, and operations to fill it with."""

import pytest

from adapters.ledger import SqlLedger
from schemas.operation import Intent, Outcome, State
from schemas.reference import Consent, PatientRecord, Provision
from tests.doubles.ledgers import intent
from tests.doubles.ports import StaticReference
from vitalwire.cli import main


class Everyone(StaticReference):
    """Knows every patient under one id, and all permit everything, but for what a test says."""

    subject_id = "CANARY"

    def patient(self, tenant_id: str, patient_id: str) -> PatientRecord:
        ids = dict.fromkeys(("north-epic", "north-fhir"), self.subject_id)
        return PatientRecord(tenant_id=tenant_id, patient_id=patient_id, subject_ids=ids)

    def consent(self, tenant_id: str, patient_id: str) -> Consent | None:
        if (tenant_id, patient_id) in self.consents:
            return self.consents[tenant_id, patient_id]
        permits = [Provision(purpose="vitals")]
        return Consent(tenant_id=tenant_id, patient_id=patient_id, status="active", permits=permits)


def known_intent(event: str, **differs: object) -> Intent:
    """An intent of a patient of its own, under the id that `Everyone` knows."""
    return intent(event, patient=event, subject_id="CANARY", scope="blood_pressure", **differs)


def settled(ledger: SqlLedger, state: State, code: str, endpoint: str = "north-epic") -> str:
    event = f"w{sum(sum(counts.values()) for counts in ledger.states().values())}"
    ledger.record([known_intent(event, endpoint=endpoint)])
    (operation,) = ledger.claim(endpoint, 1, 60)
    ledger.settle({operation.operation_id: Outcome(fence=operation.fence, state=state, code=code, message="why")})
    return operation.operation_id


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["ledger", *arguments])
    return int(ended.value.code or 0)


def state_of(ledger: SqlLedger, operation_id: str) -> State:
    operation = ledger.operation(operation_id)
    assert operation is not None
    return operation.state
