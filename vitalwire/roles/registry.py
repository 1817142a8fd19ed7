"""The composition root: what each role is made of. Only here do streams meet adapters."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from adapters.ehr import connect
from adapters.kafka.kept_offsets import KeptOffsets
from adapters.kafka.producer import KafkaProducer
from adapters.kafka.progress import ProgressReader
from adapters.ledger import ObservedLedger, SqlLedger
from mappings.observation.mapper import ObservationMapper
from schemas.config import Config
from schemas.errors import Misconfigured, RetryLater
from schemas.operation import Operation
from schemas.ports.ledger import Ledger
from schemas.topics import READINGS, WINDOWS
from schemas.window import Window
from streams.audit.trail import AuditChain, AuditTrail
from streams.clinical.intents import Render
from streams.clinical.role import ClinicalPorts, ClinicalRole
from streams.delivery.attempt import Reviewing
from streams.delivery.correction_watch import SETTLED_AFTER_S, CorrectionWatch
from streams.delivery.ledger_retention import keep_small
from streams.delivery.ledger_states import publish_states
from streams.delivery.review import Review, review
from streams.delivery.role import Delivery
from streams.runtime.fail_fast import exit_on_error
from streams.runtime.outbox import OutboxPublisher, published
from streams.telemetry.kernel.vital_table import VitalTable
from streams.telemetry.kernel.warming import compile_loops
from streams.telemetry.retention import Retention
from streams.telemetry.role import TelemetryPorts, TelemetryRole
from vitalwire.configuration import file_reader
from vitalwire.roles import serving
from vitalwire.roles.context import RoleContext, now, role_context
from vitalwire.roles.ledger_takeover import ledger, take_up
from vitalwire.roles.readiness import LEDGER
from vitalwire.secrets import read_secret
from vitalwire.settings import Settings


@contextmanager
def producer(settings: Settings) -> Iterator[KafkaProducer]:
    """The idempotent producer."""
    context = KafkaProducer(settings.bootstrap_servers(), prefix=settings.topic_prefix)
    try:
        yield context
    finally:
        context.close()


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


def audit_trail(context: RoleContext, sender: KafkaProducer, role: str) -> AuditTrail:
    """The audit trail of this process's life, of a role without a ledger."""
    chain = AuditChain(role, f"{context.instance}-{now():%Y%m%dT%H%M%S%f}")
    return AuditTrail(chain, sender, now, context.observer)


def clinical_role(context: RoleContext, opened: SqlLedger, sender: KafkaProducer) -> ClinicalRole:
    """The clinical role over its ports."""
    return ClinicalRole(
        ClinicalPorts(
            config=lambda: context.config,
            reference=context.reference,
            render=renderer(context.settings, context.config),
            ledger=ObservedLedger(opened, context.observer),
            producer=sender,
            observer=context.observer,
            clock=now,
        ),
        topic=WINDOWS.prefixed(context.settings.topic_prefix),
    )


def reviewing(context: RoleContext) -> Reviewing:
    """Compares an operation with the current reference data; without current data nothing is sent."""

    def reviewed(operation: Operation, at: datetime) -> Review:
        if not context.reference.is_current():
            raise RetryLater("reference data is not current; nothing is sent until it is")
        return review(operation, context.reference, at)

    return reviewed


def deliveries(context: RoleContext, ledger: Ledger, watch: CorrectionWatch) -> list[Delivery]:
    """One delivery for each configured endpoint that is written over HTTP."""
    return [
        Delivery(
            name,
            connect(name, endpoint, read_secret, now, context.observer),
            ledger,
            endpoint.matrix,
            now,
            context.observer,
            reviewing(context),
            kind=endpoint.kind,
            charted=watch.note,
            spread=random.SystemRandom().random,
        )
        for name, endpoint in context.config.endpoints.items()
    ]


def telemetry_role(context: RoleContext, sender: KafkaProducer) -> TelemetryRole:
    """The telemetry role over its ports."""
    settings, topic = context.settings, READINGS.prefixed(context.settings.topic_prefix)
    earlier = ProgressReader(settings.bootstrap_servers(), settings.topic_prefix)
    kept = KeptOffsets(settings.bootstrap_servers(), serving.group_of(settings, "telemetry"), topic)
    audit = audit_trail(context, sender, "telemetry")
    return TelemetryRole(
        VitalTable(context.config),
        settings.identity(),
        topic,
        TelemetryPorts(
            producer=sender,
            reference=context.reference,
            load_progress=earlier.load,
            load_set_aside=earlier.load_set_aside,
            observer=context.observer,
            clock=now,
            retention=Retention(topic, context.config.tenants, kept.load, audit, context.observer),
        ),
    )


def run_telemetry(settings: Settings) -> bool:
    """Readings to windows, until told to stop; true to start anew with a changed configuration."""
    with role_context(settings, "compiling") as context, producer(settings) as sender:
        role = telemetry_role(context, sender)

        def started(app: Any) -> None:
            # asked anew each time: Faust makes its consumer only when it starts
            role.silent_for = lambda *at: app.consumer.silent_for_ms(*at)  # noqa: PLW0108

        work = serving.Batches(
            role,
            READINGS,
            tick=role.close_due,
            every_s=context.config.telemetry.close_every / 1000,
            started=started,
            prepare=compile_loops,
        )
        return asyncio.run(serving.batches(context, sender, "telemetry", work))


def run_clinical(settings: Settings) -> bool:
    """Windows to intents, until told to stop; true to start anew with a changed configuration."""
    with role_context(settings, LEDGER) as context, producer(settings) as sender, ledger(settings) as opened:
        take_up(context, opened, "clinical")
        return asyncio.run(_judge(context, sender, opened))


async def _judge(context: RoleContext, sender: KafkaProducer, opened: SqlLedger) -> bool:
    outbox = OutboxPublisher(ObservedLedger(opened, context.observer), sender, context.observer, context.instance)
    work = serving.Batches(clinical_role(context, opened, sender), WINDOWS)
    async with published(outbox):
        return await serving.batches(context, sender, "clinical", work)


def run_delivery(settings: Settings) -> bool:
    """Write what the ledger holds to every endpoint, until told to stop; true to start anew with a changed configuration."""
    with role_context(settings, LEDGER) as context, producer(settings) as sender, ledger(settings) as opened:
        take_up(context, opened, "delivery")
        context.readiness.prepared()
        return asyncio.run(_deliver(context, sender, opened))


async def _deliver(context: RoleContext, sender: KafkaProducer, opened: SqlLedger) -> bool:
    observed = ObservedLedger(opened, context.observer)
    watch = CorrectionWatch(context.reference, observed, context.observer, now, SETTLED_AFTER_S)
    endpoints = deliveries(context, observed, watch)
    outbox = OutboxPublisher(observed, sender, context.observer, context.instance)
    if not endpoints:
        raise Misconfigured("The configuration names no endpoint, so there is nothing to deliver to.")

    async def all_endpoints(stop: asyncio.Event) -> None:
        async with published(outbox), asyncio.TaskGroup() as group:
            for delivery in endpoints:
                group.create_task(delivery.run(stop))
            group.create_task(exit_on_error(watch.run(stop)))
            group.create_task(keep_small(observed, context.config.ledger, context.observer, stop))
            group.create_task(publish_states(observed, context.config.endpoints.keys(), context.observer, stop))

    return await serving.until_stopped(context, sender, "delivery", all_endpoints)


ROLES: Mapping[str, Callable[[Settings], bool]] = {
    "telemetry": run_telemetry,
    "clinical": run_clinical,
    "delivery": run_delivery,
}
"""Role → what runs it until SIGTERM, or until it is to start anew."""
