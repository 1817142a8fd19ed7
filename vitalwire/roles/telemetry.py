"""The telemetry role: readings to windows."""

from __future__ import annotations

import asyncio
from typing import Any

from adapters.kafka.kept_offsets import KeptOffsets
from adapters.kafka.producer import KafkaProducer
from adapters.kafka.progress import ProgressReader
from schemas.topics import READINGS
from streams.audit.trail import AuditChain, AuditTrail
from streams.telemetry.kernel.precompile import compile_loops
from streams.telemetry.kernel.vital_table import VitalTable
from streams.telemetry.retention import Retention
from streams.telemetry.role import TelemetryPorts, TelemetryRole
from vitalwire.roles import serving
from vitalwire.roles.context import RoleContext, now, producer, role_context
from vitalwire.settings import Settings

NAME = "telemetry"


def run(settings: Settings) -> bool:
    """Run until SIGTERM. True: restart with the changed configuration."""
    with role_context(settings, "compiling") as context, producer(settings) as sender:
        role = telemetry_role(context, sender)

        def started(app: Any) -> None:
            # a lambda, because Faust creates its consumer only when it starts
            role.silent_for = lambda *at: app.consumer.silent_for_ms(*at)  # noqa: PLW0108

        work = serving.Batches(
            role,
            READINGS,
            tick=role.close_due,
            every_s=context.config.telemetry.close_every / 1000,
            started=started,
            prepare=compile_loops,
        )
        return asyncio.run(serving.batches(context, sender, NAME, work))


def telemetry_role(context: RoleContext, sender: KafkaProducer) -> TelemetryRole:
    """The telemetry role over its ports."""
    settings, topic = context.settings, READINGS.prefixed(context.settings.topic_prefix)
    earlier = ProgressReader(settings.bootstrap_servers(), settings.topic_prefix)
    kept = KeptOffsets(settings.bootstrap_servers(), serving.group_of(settings, NAME), topic)
    audit = _audit_trail(context, sender)
    return TelemetryRole(
        VitalTable(context.config),
        settings.identity(),
        topic,
        TelemetryPorts(
            producer=sender,
            reference=context.reference,
            load_progress=earlier.load,
            load_quarantined=earlier.load_quarantined,
            observer=context.observer,
            clock=now,
            retention=Retention(topic, context.config.tenants, kept.load, audit, context.observer),
        ),
    )


def _audit_trail(context: RoleContext, sender: KafkaProducer) -> AuditTrail:
    """A hash chain for this process: the role has no ledger to keep one in."""
    chain = AuditChain(NAME, f"{context.instance}-{now():%Y%m%dT%H%M%S%f}")
    return AuditTrail(chain, sender, now, context.observer)
