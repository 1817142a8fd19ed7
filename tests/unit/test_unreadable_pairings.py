"""Records that are gone or cannot be read list nothing, and are compared again when they can be read."""

from typing import Any

import pytest

from schemas.correction import Correction
from schemas.operation import Operation
from tests.doubles.correction_watch import LEASE_S, CorrectionHarness


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_pairing_that_is_gone_lists_nothing_and_is_compared_with_what_it_said_when_it_comes_back(
    corrections: CorrectionHarness, restarted: bool
) -> None:
    wrong = corrections.chart(0)
    corrections.reference.paired.clear()
    corrections.reference.changes += 1
    watch = corrections.another_worker() if restarted else corrections.watch
    await watch.look()
    assert corrections.ids() == []
    corrections.pair("p")
    await watch.look()
    assert corrections.ids() == []
    corrections.reference.paired.clear()
    corrections.reference.changes += 1
    await watch.look()
    corrections.pair("q")
    await watch.look()
    assert corrections.ids() == [wrong]


async def test_an_id_that_is_gone_doubts_nothing_and_one_that_comes_back_as_another_does(
    corrections: CorrectionHarness,
) -> None:
    wrong = corrections.chart(0)
    for subject in ("", "b"):
        corrections.call(subject)
        await corrections.watch.look()
        corrections.elapsed_s += LEASE_S
        await corrections.watch.look()
        assert corrections.ids() == ([wrong] if subject else [])


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_pairing_that_nobody_can_read_lists_nothing_until_it_says_something_else(restarted: bool) -> None:
    corrections = CorrectionHarness()
    corrections.chart()
    await corrections.watch.look()
    corrections.reference.closed.add(("north", "mon-1"))
    corrections.reference.changes += 1
    if restarted:
        corrections.watch = corrections.another_worker()
    await corrections.watch.look()
    assert corrections.ledger.records == []
    corrections.reference.closed.clear()
    corrections.reference.changes += 1
    await corrections.watch.look()
    assert corrections.ledger.records == []
    corrections.pair("q")
    await corrections.watch.look()
    assert len(corrections.ledger.records) == 1


async def test_a_corrected_id_is_listed_though_nobody_can_read_the_pairing() -> None:
    corrections = CorrectionHarness()
    corrections.chart()
    await corrections.watch.look()
    corrections.reference.closed.add(("north", "mon-1"))
    corrections.call("b")
    await corrections.watch.look()
    assert [Correction.model_validate_json(one.value or b"").cause for one in corrections.ledger.records] == [
        "subject_changed"
    ]


async def test_what_is_listed_is_not_listed_twice_where_its_pairing_is_closed_for_a_moment(
    corrections: CorrectionHarness,
) -> None:
    wrong = corrections.chart(0)
    corrections.pair("q")
    await corrections.watch.look()
    for _ in range(2):
        corrections.close()
        corrections.elapsed_s += LEASE_S
        await corrections.watch.look()
        corrections.open()
        await corrections.watch.look()
        corrections.pair("r")
        await corrections.watch.look()
    assert corrections.ids() == [wrong]


async def test_a_second_look_waits_until_the_pairing_can_be_read(corrections: CorrectionHarness) -> None:
    corrections.pair("q")
    await corrections.watch.look()
    wrong = corrections.chart(0)
    corrections.close()
    corrections.elapsed_s += LEASE_S
    await corrections.watch.look()
    assert corrections.ids() == []
    corrections.open()
    await corrections.watch.look()
    assert corrections.ids() == [wrong]


async def test_what_was_charted_while_its_pairing_was_closed_is_compared_when_it_can_be_read(
    corrections: CorrectionHarness,
) -> None:
    corrections.pair("q")
    await corrections.watch.look()
    corrections.elapsed_s += LEASE_S
    await corrections.watch.look()
    late = corrections.chart(0)
    corrections.close()
    corrections.watch.note(corrections.ledger.operations[late])
    await corrections.watch.look()
    assert corrections.ids() == []
    corrections.open()
    for _ in range(2):
        await corrections.watch.look()
    assert corrections.ids() == [late]


async def test_a_pairing_that_closes_while_it_is_compared_is_compared_again(
    corrections: CorrectionHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong, charted = corrections.chart(0), corrections.ledger.list_charted

    def closing(**of: Any) -> list[Operation]:
        corrections.close()
        return charted(**of)

    corrections.pair("q")
    monkeypatch.setattr(corrections.ledger, "list_charted", closing)
    for _ in range(2):
        await corrections.watch.look()
        corrections.elapsed_s += LEASE_S
    monkeypatch.undo()
    assert corrections.ids() == []
    corrections.open()
    await corrections.watch.look()
    assert corrections.ids() == [wrong]
