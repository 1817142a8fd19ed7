"""A delivery worker that is paused beyond its lease, and thaws while or after another has its operation."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from adapters.ledger import migrate
from mappings.result_kinds import RESULT_KINDS
from schemas.operation import State
from schemas.ports.ledger import Ledger
from streams.delivery.audit import SettlementAudit
from streams.delivery.role import Delivery, Pace
from tests.conditions import until
from tests.delivering import endpoint_delivery
from tests.doubles.ledgers import KEY, HandClock, audited, ledger_at
from tests.doubles.memory_ledger import MemoryLedger
from tests.ehrs import NAME, Ehr, sandbox_ehr


def worker(ehr: Ehr, connection: Any, ledger: Ledger) -> Delivery:
    return endpoint_delivery(
        connection,
        ehr.endpoint(),
        ledger,
        ehr.observer,
        pace=Pace(search_delays_s=(0.0,), poll_s=0.005),
    )


class Paused:
    """A connection whose write is on its way until it is let go on."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def create(self, *asked: Any, **named: Any) -> Any:
        self.begun.set()
        await self.go_on.wait()
        return await self._connection.create(*asked, **named)


class ClaimedOnce:
    """The ledger as a paused worker sees it: after its first claim it claims nothing more."""

    def __init__(self, ledger: Any) -> None:
        self._ledger = ledger
        self._has_claimed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    def claim(self, *asked: Any, **named: Any) -> Any:
        if self._has_claimed:
            return []
        claimed = self._ledger.claim(*asked, **named)
        self._has_claimed = bool(claimed)
        return claimed


async def test_a_worker_that_thaws_after_its_lease_neither_overwrites_nor_audits_what_another_settled(
    database_url: str, tmp_path: Path
) -> None:
    migrate(database_url)
    clock = HandClock()
    ledger = ledger_at(database_url, clock, KEY, SettlementAudit(RESULT_KINDS))
    stop = asyncio.Event()
    with sandbox_ehr("fhir", tmp_path) as ehr:
        ehr.seed("p0")
        (recorded,) = ledger.record([ehr.intent("p0")])
        frozen = Paused(ehr.connect())
        first = asyncio.create_task(worker(ehr, frozen, ClaimedOnce(ledger)).run(stop))
        await asyncio.wait_for(frozen.begun.wait(), 30)
        clock.now += timedelta(minutes=5)
        second = asyncio.create_task(worker(ehr, ehr.connect(), ledger).run(stop))

        def is_charted() -> bool:
            if ledger.states() == {NAME: {State.DEFERRED: 1}}:  # while it is claimed, no lease may run out
                clock.now += timedelta(seconds=1)
            return ledger.states() == {NAME: {State.SUCCEEDED: 1}}

        await until(is_charted, 60)
        settled = ledger.operation(recorded.operation_id)
        frozen.go_on.set()
        await until(lambda: _stale(ehr) == 1, 60)
        stop.set()
        await asyncio.gather(first, second)

        assert ledger.operation(recorded.operation_id) == settled
        assert [a.code for a in ledger.attempts(recorded.operation_id)].count("stale_claim") == 1
        assert [event.action for event in audited(ledger)] == ["observation.charted"]
        assert len(ehr.observations("p0")) == 1
    ledger.close()


async def test_an_unexpected_error_while_settling_ends_the_process_and_is_never_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []
    monkeypatch.setattr("streams.runtime.fail_fast.exit_process", ended.append)
    ledger, stop = MemoryLedger(), asyncio.Event()
    monkeypatch.setattr(ledger, "settle", lambda *_told: {}["no such thing"])
    with sandbox_ehr("fhir", tmp_path) as ehr:
        ehr.seed("p0")
        ledger.record([ehr.intent("p0")])
        running = asyncio.create_task(worker(ehr, ehr.connect(), ledger).run(stop))
        await until(lambda: ended, 30)
        stop.set()
        await running
    assert ended[0].startswith("KeyError at ")
    assert "no such thing" not in ended[0]


def _stale(ehr: Ehr) -> int:
    return sum(name == "stale_outcomes_total" for name, _ in ehr.observer.counted)
