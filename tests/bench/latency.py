"""A closed window's way into the chart, with nothing else to do: produced, durable as an intent, accepted by the EHR.

The clinical and delivery roles run as processes of their own over Kafka and a ledger, PostgreSQL and SQLite in turn; the
sandbox EHR (Epic profile, with token and encounter) runs beside. Both durations begin at the window's record on
`vitals.windows`; they are those that the roles observe for their metrics, exact.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from adapters.kafka.producer import KafkaProducer
from adapters.kafka.topics import create_or_verify
from adapters.ledger import migrate
from schemas.ports.kafka import Outgoing
from schemas.reference import Consent, Pairing, PatientRecord, Provision
from schemas.topics import CONSENTS, PAIRINGS, PATIENTS, WINDOWS
from testbed.sandbox_ehr import SandboxEhr
from tests.bench.arithmetic import percentile
from tests.bench.plan import BenchResult, Plan
from tests.bench.processes import start_role, worker_environment
from tests.bench.servers import PARTITIONS, kafka, postgresql
from tests.conditions import wait_until
from tests.doubles.windows import window

TENANT, ENDPOINT = "north", "north-epic"
PATIENTS_IN_WARD = 20
RESULTS, EVERY_S = 300, 0.1
WARMING_UP = 20
INTENT, CHARTED = "window_to_intent_seconds", "window_to_charted_seconds"
WITHIN_S = 120.0
PERCENTS = (50, 95, 99)


def measure(plan: Plan) -> BenchResult:
    """Percentiles in milliseconds for each kind of ledger; the headline is the worse of the two."""
    rounds: list[dict[str, Any]] = []
    with kafka(plan.directory) as bootstrap_servers, postgresql(plan.directory) as server:
        ledgers = {
            "postgresql": server.create_database("latency"),
            "sqlite": f"sqlite:///{plan.directory}/ledger.sqlite",
        }
        for kind, url in ledgers.items():
            with _roles(bootstrap_servers, kind, url, plan.directory / kind) as files:
                _chart(bootstrap_servers, plan, kind, files)
                kept = {name: _durations(file, name)[WARMING_UP:] for name, file in files.items()}
            rounds.append({"ledger": kind, "results": RESULTS, **kept})
    return _found(rounds)


@contextmanager
def _roles(bootstrap_servers: str, kind: str, database: str, directory: Path) -> Iterator[dict[str, Path]]:
    """Clinical and delivery at work, on topics of their own; the file in which each keeps its durations."""
    directory.mkdir()
    create_or_verify(bootstrap_servers, kind, PARTITIONS)
    files = {INTENT: directory / "clinical.jsonl", CHARTED: directory / "delivery.jsonl"}
    with ExitStack() as stack:
        ehr = stack.enter_context(SandboxEhr("epic"))
        patients = [f"p-{number}" for number in range(PATIENTS_IN_WARD)]
        ehr.seed(*patients)
        asyncio.run(_admit(bootstrap_servers, kind, patients))
        migrate(database)
        configuration = {
            "tenants": {TENANT: {"endpoints": [ENDPOINT]}},
            "endpoints": {ENDPOINT: ehr.endpoint(directory)},
        }
        environment = worker_environment(bootstrap_servers, directory, yaml.safe_dump(configuration))
        environment |= {"VITALWIRE_DATABASE": database, "VITALWIRE_TOPIC_PREFIX": kind}
        for role, file in (("clinical", files[INTENT]), ("delivery", files[CHARTED])):
            stack.callback(start_role(role, environment, directory, file).stop)
        yield files


async def _admit(bootstrap_servers: str, kind: str, patients: Sequence[str]) -> None:
    """Patients known at the endpoint, who permit everything, each with a monitor."""
    producer = KafkaProducer(bootstrap_servers, prefix=kind)
    records = []
    for patient in patients:
        key, about = f"{TENANT}|{patient}".encode(), {"tenant_id": TENANT, "patient_id": patient}
        known = PatientRecord.model_validate(about | {"subject_ids": {ENDPOINT: patient}})
        consent = Consent.model_validate(about | {"status": "active", "permits": [Provision(purpose="vitals")]})
        since = {"patient_id": patient, "from": "2000-01-01T00:00:00Z"}
        pairing = Pairing.model_validate({"tenant_id": TENANT, "device_id": _monitor(patient), "intervals": [since]})
        monitor_key = f"{TENANT}|{_monitor(patient)}".encode()
        records.append(Outgoing(PAIRINGS, monitor_key, pairing.model_dump_json(by_alias=True).encode()))
        records.append(Outgoing(PATIENTS, key, known.model_dump_json().encode()))
        records.append(Outgoing(CONSENTS, key, consent.model_dump_json(by_alias=True).encode()))
    await producer.send(records)
    await asyncio.to_thread(producer.close)


def _monitor(patient: str) -> str:
    return f"mon-{patient}"


def _chart(bootstrap_servers: str, plan: Plan, kind: str, files: dict[str, Path]) -> None:
    """One result after the other, each when the one before has long been charted."""
    numbers = range(WARMING_UP + RESULTS)

    async def produce() -> None:
        producer = KafkaProducer(bootstrap_servers, prefix=kind)
        for number in plan.each(f"latency, {kind}", numbers, lambda _: ""):
            patient = f"p-{number % PATIENTS_IN_WARD}"
            closed = window(value=60 + number % 40, patient=patient, minute=number)
            closed = closed.model_copy(update={"device_id": _monitor(patient)})
            key = f"{closed.tenant_id}|{closed.patient_id}".encode()
            await producer.send([Outgoing(WINDOWS, key, closed.model_dump_json().encode())])
            if number < WARMING_UP:
                await asyncio.to_thread(wait_until, lambda at=number: _all(files, at + 1), WITHIN_S, what="charting")
            await asyncio.sleep(EVERY_S)
        await asyncio.to_thread(producer.close)

    asyncio.run(produce())
    wait_until(lambda: _all(files, len(numbers)), WITHIN_S, what="the charting of every result")


def _all(files: dict[str, Path], wanted: int) -> bool:
    return all(len(_durations(file, name)) >= wanted for name, file in files.items())


def _durations(file: Path, name: str) -> list[float]:
    if not file.exists():
        return []
    lines = file.read_text().splitlines(keepends=True)
    found = [json.loads(line) for line in lines if line.endswith("\n")]
    return [one["seconds"] for one in found if one["name"] == name]


def _found(rounds: Sequence[dict[str, Any]]) -> BenchResult:
    results: dict[str, Any] = {}
    for found in rounds:
        for name, prefix in ((INTENT, "intent"), (CHARTED, "charted")):
            measured_ms = [seconds * 1000 for seconds in found[name]]
            of_ledger = results.setdefault(found["ledger"], {})
            of_ledger |= {f"{prefix}_p{percent}": round(percentile(measured_ms, percent), 1) for percent in PERCENTS}
    worst = {name: max(of_ledger[name] for of_ledger in results.values()) for name in next(iter(results.values()))}
    return BenchResult({"latency_ms": worst | results}, list(rounds))
