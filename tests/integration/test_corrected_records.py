"""What waits in the ledger follows the corrected records: the right patient's chart, or nobody's. On both databases."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from adapters.ledger import SqlLedger, migrate, open_ledger
from mappings.result_kinds import RESULT_KINDS
from schemas.operation import Intent, Operation, State
from schemas.reference import PairingInterval
from streams.delivery.audit import SettlementAudit
from streams.delivery.review import review
from streams.delivery.role import Delivery
from testbed.sandbox_ehr.faults import Fault
from tests.delivering import RESTING, deliver_until, delivery
from tests.doubles.ledgers import audited
from tests.doubles.ports import StaticReference
from tests.ehrs import NAME, START, Ehr, sandbox_ehr

MEASURED = {"device_id": "mon-1", "first_time": START, "last_time": START + timedelta(seconds=59)}


class CorrectedRecords:
    """A ledger, records that can be corrected, and a delivery that looks at them."""

    def __init__(self, ehr: Ehr, ledger: SqlLedger) -> None:
        self.ehr = ehr
        self.ledger = ledger
        self.reference = StaticReference()
        self.call("wrong")
        self.pair("p0")
        for subject in ("wrong", "right", "p0"):
            ehr.seed(subject)

    def call(self, subject_id: str) -> None:
        """The patient p0 is known by this id at the EHR."""
        self.reference.admit("p0", **{NAME: subject_id})

    def pair(self, patient: str) -> None:
        span = PairingInterval(patient_id=patient, since=START - timedelta(days=1))
        self.reference.pair("mon-1", span)

    def intent(self, value: float = 72.0) -> Intent:
        """A result of p0, rendered for the id the patient has at the EHR by now."""
        subject = self.reference.records["north", "p0"].subject_ids[NAME]
        made = self.ehr.intent("p0", value=value)
        resource = made.payload | {"subject": {"reference": f"Patient/{subject}"}}
        return made.model_copy(
            update={
                "subject_id": subject,
                "payload": resource,
                "source": made.source.model_copy(update=MEASURED),
            }
        )

    def role(self) -> Delivery:
        return delivery(
            self.ehr,
            self.ledger,
            timeout_s=2,
            review=lambda operation, at: review(operation, self.reference, at),
        )

    async def deliver(self, until: Callable[[], bool] | None = None) -> None:
        await deliver_until(self.role(), until or self.rested)

    def rested(self) -> bool:
        return set(self.ledger.states()[NAME]) <= RESTING

    def operation(self, operation_id: str) -> Operation:
        found = self.ledger.operation(operation_id)
        assert found is not None
        return found


@pytest.fixture
def corrected(database_url: str, tmp_path: Path) -> Iterator[CorrectedRecords]:
    migrate(database_url)
    ledger = open_ledger(database_url, bytes(32), subscribers=(SettlementAudit(RESULT_KINDS),))
    with sandbox_ehr("fhir", tmp_path) as ehr:
        yield CorrectedRecords(ehr, ledger)
    ledger.close()


async def test_a_result_that_waits_goes_to_the_corrected_patient_of_the_ehr(corrected: CorrectedRecords) -> None:
    (recorded,) = corrected.ledger.record([corrected.intent()])
    corrected.call("right")
    await corrected.deliver()
    assert corrected.operation(recorded.operation_id).state is State.SUCCEEDED
    assert corrected.operation(recorded.operation_id).intent.subject_id == "right"
    assert (len(corrected.ehr.observations("wrong")), len(corrected.ehr.observations("right"))) == (0, 1)


async def test_a_corrected_address_is_in_the_ledger_before_anything_is_sent_to_it(corrected: CorrectedRecords) -> None:
    (recorded,) = corrected.ledger.record([corrected.intent()])
    corrected.call("right")
    corrected.ehr.sandbox.sandbox.faults.put([Fault(kind="commit_then_reset", operation="create", count=1)])
    await corrected.deliver()
    operation = corrected.operation(recorded.operation_id)
    assert (operation.state, operation.intent.subject_id) == (State.SUCCEEDED, "right")
    assert (len(corrected.ehr.observations("wrong")), len(corrected.ehr.observations("right"))) == (0, 1)


async def test_what_may_have_been_written_under_the_old_id_is_held(corrected: CorrectedRecords) -> None:
    (recorded,) = corrected.ledger.record([corrected.intent()])
    corrected.ledger.claim(NAME, 1, lease_s=0.0)  # a worker that died: it may have sent it
    corrected.call("right")
    corrected.ehr.sandbox.sandbox.faults.put([Fault(kind="html", operation="search", count=1)])
    await corrected.deliver()
    operation = corrected.operation(recorded.operation_id)
    assert operation.state is State.HELD
    assert operation.in_doubt
    assert (corrected.ehr.observations("wrong"), corrected.ehr.observations("right")) == ([], [])
    corrected.ledger.release([recorded.operation_id])
    await corrected.deliver()
    assert corrected.operation(recorded.operation_id).code == "subject_changed"
    assert (corrected.ehr.observations("wrong"), corrected.ehr.observations("right")) == ([], [])


async def test_an_amendment_does_not_move_a_charted_result_to_another_chart(corrected: CorrectedRecords) -> None:
    corrected.ledger.record([corrected.intent(72)])
    await corrected.deliver()
    corrected.call("right")
    (amendment,) = corrected.ledger.record([corrected.intent(75)])
    await corrected.deliver()
    operation = corrected.operation(amendment.operation_id)
    assert (operation.state, operation.code) == (State.HELD, "subject_changed")
    assert [o["valueQuantity"]["value"] for o in corrected.ehr.observations("wrong")] == [72]
    assert corrected.ehr.observations("right") == []


async def test_an_amendment_recorded_before_the_correction_is_held_too(corrected: CorrectedRecords) -> None:
    corrected.ledger.record([corrected.intent(72)])
    await corrected.deliver()
    (amendment,) = corrected.ledger.record([corrected.intent(75)])
    corrected.call("right")
    await corrected.deliver()
    assert corrected.operation(amendment.operation_id).code == "subject_changed"
    assert corrected.ehr.observations("right") == []


async def test_a_device_that_was_another_patients_holds_what_waits(corrected: CorrectedRecords) -> None:
    (recorded,) = corrected.ledger.record([corrected.intent()])
    corrected.pair("p1")
    await corrected.deliver()
    assert corrected.operation(recorded.operation_id).code == "pairing_changed"
    assert corrected.ehr.observations("wrong") == []
    corrected.pair("p0")
    corrected.ledger.release([recorded.operation_id])
    await corrected.deliver()
    assert len(corrected.ehr.observations("wrong")) == 1


async def test_a_correction_while_it_waits_at_the_wire_sends_nothing_to_the_old_patient(
    corrected: CorrectedRecords,
) -> None:
    (recorded,) = corrected.ledger.record([corrected.intent()])
    looks = 0

    def corrected_after_the_first_look(operation: Operation, at: object) -> object:
        nonlocal looks
        looks += 1
        if looks == 3:  # when the attempt begins, when it has its place, and when the first byte would go
            corrected.call("right")
        return review(operation, corrected.reference, at)  # type: ignore[arg-type]

    role = delivery(corrected.ehr, corrected.ledger, timeout_s=2, review=corrected_after_the_first_look)
    await asyncio.wait_for(deliver_until(role, corrected.rested), 60)
    assert corrected.operation(recorded.operation_id).state is State.SUCCEEDED
    assert "readdressed" in [attempt.code for attempt in corrected.ledger.attempts(recorded.operation_id)]
    told = [(event.action, event.operation_id) for event in audited(corrected.ledger)]
    assert told == [(action, recorded.operation_id) for action in ("operation.readdressed", "observation.charted")]
    assert (len(corrected.ehr.observations("wrong")), len(corrected.ehr.observations("right"))) == (0, 1)


async def test_after_a_merge_a_released_result_goes_to_the_surviving_patient(database_url: str, tmp_path: Path) -> None:
    migrate(database_url)
    ledger = open_ledger(database_url, None, subscribers=())
    with sandbox_ehr("epic", tmp_path) as ehr:
        ehr.sandbox.seed("wrong", merged_into="right")
        corrected = CorrectedRecords(ehr, ledger)
        (recorded,) = ledger.record([corrected.intent()])
        await corrected.deliver()
        assert corrected.operation(recorded.operation_id).code == "4107"
        corrected.call("right")
        ledger.release([recorded.operation_id])
        await corrected.deliver()
        assert corrected.operation(recorded.operation_id).state is State.SUCCEEDED
        assert (len(ehr.observations("wrong")), len(ehr.observations("right"))) == (0, 1)
    ledger.close()
