"""The composition root: what each role is made of. Only here do streams meet adapters."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from adapters.ehr import connect
from adapters.kafka_producer import KafkaProducer
from adapters.kept_offsets import KeptOffsets
from adapters.ledger import ObservedLedger, SqlLedger
from adapters.progress import ProgressReader
from mappings.observation import ObservationMapper
from schemas.config import Config
from schemas.errors import Misconfigured, RetryLater
from schemas.operation import Operation
from schemas.ports import Ledger
from schemas.topics import READINGS, WINDOWS
from schemas.window import Window
from streams.attempt import Reviewing
from streams.audit import AuditChain, AuditTrail
from streams.clinical import ClinicalPorts, ClinicalRole
from streams.correction_watch import SETTLED_AFTER_S, CorrectionWatch
from streams.delivery import Delivery
from streams.ending import or_end
from streams.judgement import Render
from streams.kernel.vital_table import VitalTable
from streams.kernel.warming import compile_loops
from streams.ledger_states import tell_states
from streams.ledger_upkeep import keep_small
from streams.outbox import OutboxPublisher, published
from streams.retention import Retention
from streams.review import Review, review
from streams.telemetry import TelemetryPorts, TelemetryRole
from vitalwire import serving
from vitalwire.base import Base, base, now
from vitalwire.configuration import file_reader
from vitalwire.readiness import LEDGER
from vitalwire.secrets import read_secret
from vitalwire.settings import Settings
from vitalwire.taking_up import ledger, take_up


@contextmanager
def producer(settings: Settings) -> Iterator[KafkaProducer]:
    """The idempotent producer."""
    made = KafkaProducer(settings.bootstrap_servers(), prefix=settings.topic_prefix)
    try:
        yield made
    finally:
        made.close()


def renderer(settings: Settings, config: Config) -> Render:
    """Windows → Observation as each configured endpoint takes it, by the site's template where it has one."""
    read = file_reader(settings.configuration())
    mappers = {
        name: ObservationMapper(config, name, read(endpoint.template) if endpoint.template else None)
        for name, endpoint in config.endpoints.items()
    }

    def render(endpoint: str, windows: Sequence[Window], subject_id: str) -> dict[str, Any]:
        return mappers[endpoint].render(windows, subject_id)

    return render


def audit_trail(made: Base, sender: KafkaProducer, role: str) -> AuditTrail:
    """The audit trail of this process's life, of a role without a ledger."""
    chain = AuditChain(role, f"{made.instance}-{now():%Y%m%dT%H%M%S%f}")
    return AuditTrail(chain, sender, now, made.observer)


def clinical_role(made: Base, opened: SqlLedger, sender: KafkaProducer) -> ClinicalRole:
    """The clinical role over its ports."""
    return ClinicalRole(
        ClinicalPorts(
            config=lambda: made.config,
            reference=made.reference,
            render=renderer(made.settings, made.config),
            ledger=ObservedLedger(opened, made.observer),
            producer=sender,
            observer=made.observer,
            clock=now,
        ),
        topic=WINDOWS.prefixed(made.settings.topic_prefix),
    )


def reviewing(made: Base) -> Reviewing:
    """Compares an operation with the current reference data; without current data nothing is sent."""

    def reviewed(operation: Operation, at: datetime) -> Review:
        if not made.reference.is_current():
            raise RetryLater("reference data is not current; nothing is sent until it is")
        return review(operation, made.reference, at)

    return reviewed


def deliveries(made: Base, ledger: Ledger, watch: CorrectionWatch) -> list[Delivery]:
    """One delivery for each configured endpoint that is written over HTTP."""
    return [
        Delivery(
            name,
            connect(name, endpoint, read_secret, now, made.observer),
            ledger,
            endpoint.matrix,
            now,
            made.observer,
            reviewing(made),
            kind=endpoint.kind,
            charted=watch.note,
            spread=random.SystemRandom().random,
        )
        for name, endpoint in made.config.endpoints.items()
    ]


def telemetry_role(made: Base, sender: KafkaProducer) -> TelemetryRole:
    """The telemetry role over its ports."""
    settings, topic = made.settings, READINGS.prefixed(made.settings.topic_prefix)
    earlier = ProgressReader(settings.bootstrap_servers(), settings.topic_prefix)
    kept = KeptOffsets(settings.bootstrap_servers(), serving.group_of(settings, "telemetry"), topic)
    audit = audit_trail(made, sender, "telemetry")
    return TelemetryRole(
        VitalTable(made.config),
        settings.identity(),
        topic,
        TelemetryPorts(
            producer=sender,
            reference=made.reference,
            load_progress=earlier.load,
            load_set_aside=earlier.load_set_aside,
            observer=made.observer,
            clock=now,
            retention=Retention(topic, made.config.tenants, kept.load, audit, made.observer),
        ),
    )


def run_telemetry(settings: Settings) -> bool:
    """Readings to windows, until told to stop; true to start anew with a changed configuration."""
    with base(settings, "compiling") as made, producer(settings) as sender:
        role = telemetry_role(made, sender)

        def started(app: Any) -> None:
            # asked anew each time: Faust makes its consumer only when it starts
            role.silent_for = lambda *at: app.consumer.silent_for_ms(*at)  # noqa: PLW0108

        work = serving.Batches(
            role,
            READINGS,
            tick=role.close_due,
            every_s=made.config.telemetry.close_every / 1000,
            started=started,
            prepare=compile_loops,
        )
        return asyncio.run(serving.batches(made, sender, "telemetry", work))


def run_clinical(settings: Settings) -> bool:
    """Windows to intents, until told to stop; true to start anew with a changed configuration."""
    with base(settings, LEDGER) as made, producer(settings) as sender, ledger(settings) as opened:
        take_up(made, opened, "clinical")
        return asyncio.run(_judge(made, sender, opened))


async def _judge(made: Base, sender: KafkaProducer, opened: SqlLedger) -> bool:
    outbox = OutboxPublisher(ObservedLedger(opened, made.observer), sender, made.observer, made.instance)
    work = serving.Batches(clinical_role(made, opened, sender), WINDOWS)
    async with published(outbox):
        return await serving.batches(made, sender, "clinical", work)


def run_delivery(settings: Settings) -> bool:
    """Write what the ledger holds to every endpoint, until told to stop; true to start anew with a changed configuration."""
    with base(settings, LEDGER) as made, producer(settings) as sender, ledger(settings) as opened:
        take_up(made, opened, "delivery")
        made.readiness.prepared()
        return asyncio.run(_deliver(made, sender, opened))


async def _deliver(made: Base, sender: KafkaProducer, opened: SqlLedger) -> bool:
    observed = ObservedLedger(opened, made.observer)
    watch = CorrectionWatch(made.reference, observed, made.observer, now, SETTLED_AFTER_S)
    endpoints = deliveries(made, observed, watch)
    outbox = OutboxPublisher(observed, sender, made.observer, made.instance)
    if not endpoints:
        raise Misconfigured("The configuration names no endpoint, so there is nothing to deliver to.")

    async def all_endpoints(stop: asyncio.Event) -> None:
        async with published(outbox), asyncio.TaskGroup() as group:
            for delivery in endpoints:
                group.create_task(delivery.run(stop))
            group.create_task(or_end(watch.run(stop)))
            group.create_task(keep_small(observed, made.config.ledger, made.observer, stop))
            group.create_task(tell_states(observed, made.config.endpoints.keys(), made.observer, stop))

    return await serving.until_stopped(made, sender, "delivery", all_endpoints)


ROLES: Mapping[str, Callable[[Settings], bool]] = {
    "telemetry": run_telemetry,
    "clinical": run_clinical,
    "delivery": run_delivery,
}
"""Role → what runs it until SIGTERM, or until it is to start anew."""
