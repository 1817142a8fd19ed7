"""What the clinical role makes of closed windows: intents in the ledger, settled offsets, audit and metrics."""

import pytest

from schemas.operation import Outcome, State
from streams.audit.verification import broken_links
from tests.doubles.clinical_role import ClinicalHarness
from tests.doubles.windows import CLOSED_MS, batch, pressure, window


async def test_a_published_window_becomes_an_intent_at_every_endpoint_of_its_tenant(clinical: ClinicalHarness):
    charted = window()
    await clinical.role.process(batch(charted))
    (at_fhir,), (at_epic,) = clinical.intents("north-fhir"), clinical.intents("north-epic")
    assert (at_fhir.subject_id, at_epic.subject_id) == ("fhir-9", "epic-9")
    assert at_fhir.payload["valueQuantity"]["value"] == 72
    assert (at_fhir.source.event_id, at_fhir.source.part_ids) == (charted.window_id, [charted.window_id])
    assert at_fhir.occurred_at == charted.end
    assert at_fhir.produced_at.timestamp() * 1000 == CLOSED_MS
    assert clinical.role.settled() == {0: 1}


async def test_a_window_that_is_not_published_is_settled_and_causes_nothing(clinical: ClinicalHarness):
    await clinical.role.process(batch(window(publish=False, cause=None)))
    assert clinical.ledger.states() == {}
    assert clinical.producer.sent == []
    assert clinical.role.settled() == {0: 1}


async def test_taking_the_same_batch_again_changes_nothing(clinical: ClinicalHarness):
    everything = batch(window(), *pressure(), window(minute=1))
    await clinical.role.process(everything)
    before = clinical.ledger.states()
    await clinical.role.assigned([0])
    await clinical.role.process(everything)
    assert clinical.ledger.states() == before


async def test_new_content_of_a_window_amends_its_operation(clinical: ClinicalHarness):
    await clinical.role.process(batch(window(value=72), window(value=75, revision=1, cause="late")))
    (first,) = clinical.operations()
    clinical.ledger.settle({first.operation_id: Outcome(fence=first.fence, state=State.SUCCEEDED)})
    (amendment,) = clinical.operations()
    assert amendment.amends == first.operation_id
    assert amendment.intent.source.event_id == first.intent.source.event_id
    assert amendment.intent.payload["valueQuantity"]["value"] == 75


async def test_a_changed_mapping_amends_and_a_changed_patient_id_of_the_ehr_does_not(clinical: ClinicalHarness):
    await clinical.role.process(batch(window()))
    clinical.reference.admit("p-9", north_fhir="merged", north_epic="merged")
    await clinical.role.process(batch(window()))
    assert clinical.ledger.states()["north-fhir"] == {State.PENDING: 1}
    plain = clinical.mappers["north-fhir"]

    class Renewed:
        def render(self, windows: list, subject: str) -> dict:
            return plain.render(windows, subject) | {"language": "en"}

    clinical.mappers["north-fhir"] = Renewed()
    await clinical.role.process(batch(window()))
    assert clinical.ledger.states()["north-fhir"] == {State.PENDING: 2}


async def test_what_is_away_is_tried_again_in_place_until_it_answers(
    clinical: ClinicalHarness, monkeypatch: pytest.MonkeyPatch
):
    clinical.reference.stale = 1
    clinical.producer.away = 1
    monkeypatch.setattr("streams.runtime.backoff.FIRST_S", 0.001)
    await clinical.role.process(batch(window()))
    assert len(clinical.intents()) == 1
    assert len(clinical.audited()) == 2
    assert 'vitalwire_retries_total{dependency="reference"} 1.0' in clinical.observer.exposition().decode()


async def test_every_step_is_audited_in_a_chain_that_holds_and_names_no_patient(clinical: ClinicalHarness):
    await clinical.role.process(batch(window(), window(patient="p-10", minute=1), b"?"))
    events = clinical.audited()
    assert sorted(event.action for event in events) == [
        "operation.recorded",
        "operation.recorded",
        "record.dead_lettered",
        "window.quarantined",
        "window.quarantined",
    ]
    assert broken_links(events) == []
    assert "p-10" not in repr(events)
    assert "p-9" not in repr(events)


async def test_the_time_from_window_to_intent_is_measured(clinical: ClinicalHarness):
    await clinical.role.process(batch(window()))
    assert "vitalwire_window_to_intent_seconds_sum 2.0" in clinical.observer.exposition().decode()
