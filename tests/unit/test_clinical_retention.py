"""Windows that retention removed before the clinical role read them: counted and audited once, over restarts."""

import pytest

from schemas.ports.kafka import PartitionOffsets, Position
from streams.runtime.batches import Removed
from tests.doubles.clinical_role import ClinicalHarness
from tests.doubles.ledgers import reported_windows
from tests.doubles.windows import batch, pressure, window

TOPIC = "vitals.windows"


def removed_steps(clinical: ClinicalHarness) -> list[tuple[str, str | None, str]]:
    return [(e.tenant_id, e.source, e.outcome) for e in clinical.audited() if e.action == "windows.removed_unread"]


async def test_windows_that_retention_removed_unread_are_counted_and_audited_once_over_restarts(
    clinical: ClinicalHarness,
):
    clinical.ledger.record([], Position(TOPIC, 0, 3))
    clinical.kept.kept = PartitionOffsets(3, 10)
    for _ in range(2):
        await clinical.role.assigned([0])
        await clinical.role.revoked([0])
    assert clinical.ledger.removed_unread(TOPIC) == {0: 7}
    assert clinical.ledger.positions(TOPIC) == {0: 10}
    assert removed_steps(clinical) == [("north", f"{TOPIC}/0/3-9", "failure")]
    assert (
        clinical.observer.registry.get_sample_value("vitalwire_windows_removed_unread_total", {"partition": "0"}) == 7
    )


@pytest.mark.parametrize(("committed", "lost"), [(None, 4), (1, 3), (4, 0), (9, 0)])
async def test_without_a_position_in_the_ledger_what_was_committed_was_read(
    clinical: ClinicalHarness, committed: int | None, lost: int
):
    clinical.kept.kept = PartitionOffsets(committed, 4)
    await clinical.role.assigned([0])
    assert sum(clinical.ledger.removed_unread(TOPIC).values()) == lost
    assert len(removed_steps(clinical)) == min(lost, 1)


async def test_what_a_ledger_that_went_back_cannot_read_again_is_counted(clinical: ClinicalHarness):
    clinical.ledger.record([], Position(TOPIC, 0, 2))
    clinical.kept.kept = PartitionOffsets(8, 5)
    await clinical.role.assigned([0])
    assert clinical.ledger.removed_unread(TOPIC) == {0: 3}
    assert clinical.role.start_at() == {0: 5}


async def test_retention_of_windows_whose_intents_are_durable_is_no_loss(clinical: ClinicalHarness):
    clinical.ledger.record([], Position(TOPIC, 0, 9))
    clinical.kept.kept = PartitionOffsets(4, 9)
    await clinical.role.assigned([0])
    assert clinical.ledger.removed_unread(TOPIC) == {0: 0}
    assert removed_steps(clinical) == []


async def test_a_role_that_retention_overtakes_counts_what_it_did_not_read_and_charts_what_it_held(
    clinical: ClinicalHarness,
):
    await clinical.role.assigned([0])
    systolic, _ = pressure()
    await clinical.role.process(batch(window(), systolic))
    assert clinical.role.settled() == {0: 1}
    clinical.kept.kept = PartitionOffsets(1, 6)
    await clinical.role.process(batch()._replace(next_offset=6, removed=Removed(2, 6)))
    assert clinical.ledger.removed_unread(TOPIC) == {0: 4}
    assert removed_steps(clinical) == [("north", f"{TOPIC}/0/2-5", "failure")]
    assert reported_windows(clinical.ledger) == {window().window_id, systolic.window_id}
    assert clinical.role.settled() == {0: 6}
    await clinical.role.revoked([0])
    await clinical.role.assigned([0])
    assert clinical.ledger.removed_unread(TOPIC) == {0: 4}
