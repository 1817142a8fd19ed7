"""Delivery over the real ledger, on both databases, to an EHR that loses answers; two workers share one endpoint."""

import asyncio
from pathlib import Path

from adapters.ledger import SqlLedger, migrate, open_ledger
from schemas.operation import State
from streams.delivery.role import Delivery, Pace
from testbed.sandbox_ehr.faults import Fault
from tests.conditions import until
from tests.delivering import endpoint_delivery
from tests.ehrs import NAME, Ehr, sandbox_ehr

PATIENTS = [f"p{n}" for n in range(10)]
MINUTES = range(4)


def worker(ehr: Ehr, ledger: SqlLedger) -> Delivery:
    return endpoint_delivery(
        ehr.connect(timeout_s=1.0),
        ehr.endpoint(timeout_s=1.0),
        ledger,
        ehr.observer,
        pace=Pace(search_delays_s=(0.0, 0.05)),
    )


async def test_two_workers_chart_a_ward_once_in_order_though_answers_are_lost(
    database_url: str, tmp_path: Path
) -> None:
    migrate(database_url)
    ledger = open_ledger(database_url, None, subscribers=())
    with sandbox_ehr("epic", tmp_path) as ehr:
        for patient in PATIENTS:
            ehr.seed(patient)
        ehr.sandbox.sandbox.faults.put([Fault(kind="commit_then_reset", probability=0.2)])
        ledger.record([ehr.intent(p, minute=m, value=60 + m) for m in MINUTES for p in PATIENTS])
        stop = asyncio.Event()
        running = [asyncio.create_task(worker(ehr, ledger).run(stop)) for _ in range(2)]
        everything = {NAME: {State.SUCCEEDED: len(PATIENTS) * len(MINUTES)}}
        await until(lambda: ledger.states() == everything, 120)
        stop.set()
        await asyncio.gather(*running)
        assert ehr.sandbox.sandbox.faults.struck["commit_then_reset"] > 0
        for patient in PATIENTS:
            assert [o["valueQuantity"]["value"] for o in ehr.observations(patient)] == [60, 61, 62, 63]
    ledger.close()


async def test_a_worker_killed_in_the_middle_is_taken_over_without_a_second_observation(
    database_url: str, tmp_path: Path
) -> None:
    migrate(database_url)
    ledger = open_ledger(database_url, None, subscribers=())
    with sandbox_ehr("oracle-health", tmp_path) as ehr:
        for patient in PATIENTS:
            ehr.seed(patient)
        ledger.record([ehr.intent(p) for p in PATIENTS])
        written, unsent = ledger.claim(NAME, 2, lease_s=0.0)
        connection = ehr.connect()
        await connection.create(written.intent.payload)
        await connection.close()
        stop = asyncio.Event()
        running = asyncio.create_task(worker(ehr, ledger).run(stop))
        expected = {NAME: {State.SUCCEEDED: len(PATIENTS) - 1, State.HELD: 1}}
        await until(lambda: ledger.states() == expected, 120)
        stop.set()
        await running
        held = ledger.operation(unsent.operation_id)
        assert held is not None
        assert (held.state, held.code) == (State.HELD, "absent")
        assert [len(ehr.observations(p)) for p in PATIENTS if p != held.intent.patient_id] == [1] * (len(PATIENTS) - 1)
    ledger.close()
