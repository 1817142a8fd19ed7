"""The delivery role beside a bare httpx client: the same Observations, server, machine and concurrency, taking turns.

Delivery does what a bare client does not: it claims each operation from the ledger, checks consent, keeps a patient's
results in order, reads the answer through the verdict table and settles the outcome with its evidence, in PostgreSQL.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from time import perf_counter, process_time
from typing import Any

import httpx
import orjson

from adapters.ehr import connect
from adapters.ledger import SqlLedger, migrate, open_ledger
from mappings.observation.mapper import ObservationMapper
from mappings.result_kinds import RESULT_KINDS
from schemas.config import Config, Secret
from schemas.operation import Intent, Source, State
from streams.delivery.audit import SettlementAudit
from streams.delivery.observing import DeliveryMetrics
from streams.delivery.ports import DeliveryPorts
from streams.delivery.role import Delivery
from tests.bench.arithmetic import Run, alternating, by_contestant
from tests.bench.plan import BenchResult, Plan, raw
from tests.bench.servers import Database, hapi, postgresql
from tests.doubles.windows import window

ENDPOINT = "north-fhir"
PATIENTS, EACH = 200, 10
DELIVERY, HTTPX = "delivery", "bare httpx"
POLL_S = 0.02


def measure(plan: Plan) -> BenchResult:
    """Observations a second of both, and the ratio."""
    with hapi(plan.directory) as base_url, postgresql(plan.directory) as database:
        patients = [f"bench-{number}" for number in range(PATIENTS)]
        _admit(base_url, patients)
        runs: list[tuple[int, Run]] = []
        turns = alternating([DELIVERY, HTTPX], plan.rounds + 1)
        for number, (turn, contestant) in enumerate(plan.each("delivery", turns, lambda at: at[1])):
            intents = _intents(_config(base_url), patients, number)
            run = _bare if contestant == HTTPX else _delivered(database, number)
            runs.append((turn, asyncio.run(run(base_url, intents))))
    return _found([run for turn, run in runs if turn > 0])


def _admit(base_url: str, patients: Sequence[str]) -> None:
    with httpx.Client(timeout=60, trust_env=False) as client:
        for patient in patients:
            about = {"resourceType": "Patient", "id": patient}
            client.put(f"{base_url}/Patient/{patient}", json=about).raise_for_status()


def _config(base_url: str) -> Config:
    return Config.model_validate({"endpoints": {ENDPOINT: {"kind": "fhir", "base_url": base_url}}})


def _intents(config: Config, patients: Sequence[str], number: int) -> list[Intent]:
    """New Observations in every run, rendered before it begins."""
    mapper = ObservationMapper(config, ENDPOINT)
    intents = []
    for minute in range(number * EACH, (number + 1) * EACH):
        for patient in patients:
            closed = window("heart_rate", 60 + minute % 40, patient=patient, minute=minute)
            intents.append(
                Intent(
                    tenant_id="north", endpoint=ENDPOINT, patient_id=patient, subject_id=patient,
                    purpose="vitals", scope="heart_rate", resource_type="Observation",
                    source=Source(event_id=closed.window_id, part_ids=[closed.window_id]),
                    content_hash=closed.content_hash, occurred_at=closed.end, payload=mapper.render([closed], patient),
                )
            )  # fmt: skip
    return intents


async def _bare(base_url: str, intents: Sequence[Intent]) -> Run:
    """As many connections as delivery has, each kept busy; bodies made beforehand; only the status is looked at."""
    concurrency = _config(base_url).endpoints[ENDPOINT].matrix.concurrency
    bodies = iter([orjson.dumps(intent.payload) for intent in intents])
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    headers = {"Content-Type": "application/fhir+json", "Accept": "application/fhir+json"}
    async with httpx.AsyncClient(limits=limits, headers=headers, timeout=60, trust_env=False) as client:

        async def keep_posting() -> None:
            for body in bodies:
                answer = await client.post(f"{base_url}/Observation", content=body)
                if answer.status_code != httpx.codes.CREATED:
                    raise SystemExit(f"the server refused an Observation of the benchmark ({answer.status_code})")

        began, cpu_began = perf_counter(), process_time()
        await asyncio.gather(*(keep_posting() for _ in range(concurrency)))
        return Run(HTTPX, len(intents), perf_counter() - began, process_time() - cpu_began)


class _Verdicts:
    """Counts verdicts; other measurements are of no interest here."""

    def __init__(self) -> None:
        self.states: Counter[str] = Counter()

    def count(self, name: str, amount: float = 1, **labels: str) -> None:
        if name == "verdicts_total":
            self.states[labels["state"]] += int(amount)

    def gauge(self, name: str, value: float, **labels: str) -> None:
        pass

    def seconds(self, name: str, value_s: float, **labels: str) -> None:
        pass


def _delivered(database: Database, number: int) -> Callable[[str, Sequence[Intent]], Coroutine[Any, Any, Run]]:
    async def run(base_url: str, intents: Sequence[Intent]) -> Run:
        url = database.create_database(f"delivery_{number}")
        await asyncio.to_thread(migrate, url)
        ledger = open_ledger(url, bytes(32), subscribers=(SettlementAudit(RESULT_KINDS),))
        try:
            for start in range(0, len(intents), 500):
                ledger.record(intents[start : start + 500])
            return await _deliver(base_url, ledger, len(intents))
        finally:
            ledger.close()

    return run


async def _deliver(base_url: str, ledger: SqlLedger, amount: int) -> Run:
    endpoint, verdicts, stop = _config(base_url).endpoints[ENDPOINT], _Verdicts(), asyncio.Event()
    ehr = connect(ENDPOINT, endpoint, _no_secret, _now, verdicts)
    ports = DeliveryPorts(
        endpoint=ENDPOINT,
        kind=endpoint.kind,
        capabilities=endpoint.matrix,
        ehr=ehr,
        ledger=ledger,
        review=lambda _operation, _at: None,
        clock=_now,
        result_kinds=RESULT_KINDS,
    )
    delivery = Delivery(ports, DeliveryMetrics(ENDPOINT, verdicts, _now))
    began, cpu_began = perf_counter(), process_time()
    working = asyncio.create_task(delivery.run(stop))
    while verdicts.states.total() < amount or ledger.states()[ENDPOINT].get(State.SUCCEEDED, 0) < amount:
        await asyncio.sleep(POLL_S)
        if set(verdicts.states) - {State.SUCCEEDED}:
            raise SystemExit(f"the server refused an Observation of the benchmark ({dict(verdicts.states)})")
    run = Run(DELIVERY, amount, perf_counter() - began, process_time() - cpu_began)
    stop.set()
    await working
    return run


def _no_secret(_secret: Secret) -> str:
    raise AssertionError("this endpoint has no secret")


def _now() -> datetime:
    return datetime.now(UTC)


def _found(runs: Sequence[Run]) -> BenchResult:
    summaries = by_contestant(runs)
    ours, bare = summaries[DELIVERY], summaries[HTTPX]
    results = {
        "observations_per_s": round(ours.per_s, 1),
        "bare_httpx_per_s": round(bare.per_s, 1),
        "vs_httpx": round(ours.per_s / bare.per_s, 3),
        "vs_httpx_cpu": round(ours.per_cpu_s / bare.per_cpu_s, 3),
    }
    return BenchResult({"delivery": results}, raw(runs))
