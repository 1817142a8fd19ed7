"""How the clinical role joins windows to panels, and which offsets it holds meanwhile."""

from datetime import timedelta
from pathlib import Path

import pytest

from schemas.operation import State
from schemas.reference import Provision
from tests.conditions import until
from tests.doubles.clinical_role import ClinicalHarness
from tests.doubles.ledgers import reported_windows
from tests.doubles.windows import CLOSED_MS, START, batch, pressure, window


async def test_systolic_and_diastolic_become_one_panel(clinical: ClinicalHarness):
    systolic, diastolic = pressure(121, 79)
    await clinical.role.process(batch(systolic, diastolic))
    (panel,) = clinical.intents()
    assert panel.source.event_id == systolic.window_id
    assert panel.source.part_ids == [systolic.window_id, diastolic.window_id]
    assert panel.scope == "blood_pressure"
    assert [c["valueQuantity"]["value"] for c in panel.payload["component"]] == [121, 79]


async def test_the_panel_is_the_same_whichever_member_comes_first(clinical: ClinicalHarness):
    systolic, diastolic = pressure()
    await clinical.role.process(batch(diastolic, systolic))
    await clinical.role.process(batch(systolic, diastolic, first=2))
    assert len(clinical.operations()) == 1
    assert clinical.role.settled() == {0: 4}


async def test_a_member_waits_for_the_other_across_batches_and_holds_its_offset(clinical: ClinicalHarness):
    systolic, diastolic = pressure()
    await clinical.role.process(batch(window(minute=1), systolic, window(minute=2)))
    assert clinical.role.settled() == {0: 1}
    await clinical.role.process(batch(diastolic, first=3))
    assert clinical.role.settled() == {0: 4}
    assert systolic.window_id in {intent.source.event_id for intent in clinical.intents()} | {
        op.intent.source.event_id for op in clinical.operations()
    } | reported_windows(clinical.ledger)


async def test_one_published_member_brings_the_other_so_that_a_panel_is_always_whole(clinical: ClinicalHarness):
    systolic, diastolic = pressure()
    await clinical.role.process(batch(systolic, diastolic.model_copy(update={"publish": False, "cause": None})))
    (panel,) = clinical.intents()
    assert len(panel.payload["component"]) == 2


async def test_a_member_whose_other_never_comes_is_charted_when_the_log_went_on_for_a_minute(clinical: ClinicalHarness):
    systolic, _ = pressure()
    await clinical.role.process(batch(systolic))
    await clinical.role.process(batch(window(minute=1), first=1, at_ms=CLOSED_MS + 60_000))
    assert systolic.window_id in reported_windows(clinical.ledger)
    assert clinical.role.settled() == {0: 2}


async def test_a_member_whose_other_never_comes_is_charted_when_the_partition_went_silent(tmp_path: Path):
    clinical = ClinicalHarness(tmp_path, hold_s=0.0)
    systolic, _ = pressure()
    await clinical.role.process(batch(systolic))
    await until(lambda: clinical.role.settled() == {0: 1})
    assert reported_windows(clinical.ledger) == {systolic.window_id}


async def test_a_repeated_member_of_a_joined_panel_is_not_charted_again_as_half_a_panel(clinical: ClinicalHarness):
    systolic, diastolic = pressure()
    await clinical.role.process(batch(systolic, systolic, diastolic, diastolic))
    await clinical.role.process(batch(window(minute=1), first=4, at_ms=CLOSED_MS + 120_000))
    assert clinical.ledger.states()["north-fhir"] == {State.PENDING: 2}


async def test_nothing_is_settled_before_the_ledger_has_it(clinical: ClinicalHarness, monkeypatch: pytest.MonkeyPatch):
    systolic, diastolic = pressure()
    await clinical.role.process(batch(systolic, window(minute=1)))
    seen: list[dict[int, int]] = []
    record = clinical.ledger.record

    def watched(*args: object) -> object:
        seen.append(dict(clinical.role.settled()))
        return record(*args)

    monkeypatch.setattr(clinical.ledger, "record", watched)
    await clinical.role.process(batch(diastolic, first=2))
    assert seen == [{0: 0}]
    assert clinical.role.settled() == {0: 3}


async def test_old_records_read_again_do_not_tear_a_panel_apart(clinical: ClinicalHarness):
    systolic, diastolic = pressure()
    await clinical.role.process(batch(systolic, at_ms=CLOSED_MS - 86_400_000))
    await clinical.role.process(batch(diastolic, first=1, at_ms=CLOSED_MS - 86_400_000 + 900))
    (panel,) = clinical.intents()
    assert len(panel.payload["component"]) == 2


async def test_a_panel_was_measured_from_its_earliest_to_its_latest_member(clinical: ClinicalHarness):
    systolic, diastolic = pressure(first_time=START + timedelta(seconds=9), last_time=START + timedelta(seconds=20))
    diastolic = diastolic.model_copy(update={"last_time": START + timedelta(seconds=40)})
    clinical.permit_during(START, START + timedelta(seconds=40))
    await clinical.role.process(batch(systolic, diastolic))
    assert clinical.ledger.states() == {}
    clinical.permit_during(START + timedelta(seconds=9), START + timedelta(seconds=41))
    await clinical.role.revoked([0])
    await clinical.role.process(batch(systolic, diastolic))
    assert [i.source.last_time for i in clinical.intents()] == [START + timedelta(seconds=40)]


async def test_a_panel_is_quarantined_whole_when_one_member_is_denied(clinical: ClinicalHarness):
    consent = clinical.reference.consents["north", "p-9"]
    denied = consent.model_copy(update={"denies": [Provision(purpose="vitals", types=["diastolic_bp"])]})
    clinical.reference.consents["north", "p-9"] = denied
    await clinical.role.process(batch(*pressure(), window()))
    assert [intent.scope for intent in clinical.intents()] == ["heart_rate"]
    assert len(clinical.quarantined()) == 4


async def test_a_revoked_partition_is_forgotten_with_what_it_held(clinical: ClinicalHarness):
    systolic, diastolic = pressure()
    await clinical.role.process(batch(systolic))
    await clinical.role.revoked([0])
    assert clinical.role.settled() == {}
    await clinical.role.assigned([0])
    await clinical.role.process(batch(systolic, diastolic))
    assert clinical.ledger.states()["north-fhir"] == {State.PENDING: 1}


async def test_members_in_different_partitions_are_never_joined(clinical: ClinicalHarness):
    systolic, diastolic = pressure()
    await clinical.role.process(batch(systolic, partition=0))
    await clinical.role.process(batch(diastolic, partition=1))
    assert clinical.ledger.states() == {}
    assert clinical.role.settled() == {0: 0, 1: 0}
