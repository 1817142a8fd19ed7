"""The delivery role: operations in the ledger to EHRs."""

from __future__ import annotations

import asyncio
import random
from datetime import datetime

from adapters.ehr import connect
from adapters.kafka.producer import KafkaProducer
from adapters.ledger import ObservedLedger, SqlLedger
from mappings.result_kinds import RESULT_KINDS
from schemas.errors import Misconfigured, RetryLater
from schemas.operation import Operation
from schemas.ports.ledger import Ledger
from streams.delivery.correction_watch import SETTLED_AFTER_S, CorrectionWatch
from streams.delivery.ledger_retention import enforce_retention
from streams.delivery.ledger_states import publish_states
from streams.delivery.observing import DeliveryMetrics
from streams.delivery.ports import DeliveryPorts, Reviewing
from streams.delivery.review import Review, review
from streams.delivery.role import Delivery
from streams.runtime.fail_fast import exit_on_error
from streams.runtime.outbox import OutboxPublisher, published
from vitalwire.roles import serving
from vitalwire.roles.context import RoleContext, now, producer, role_context
from vitalwire.roles.ledger_takeover import ledger, take_over
from vitalwire.roles.readiness import LEDGER
from vitalwire.secrets import read_secret
from vitalwire.settings import Settings

NAME = "delivery"


def run(settings: Settings) -> bool:
    """Run until SIGTERM. True: restart with the changed configuration."""
    with role_context(settings, LEDGER) as context, producer(settings) as sender, ledger(settings) as opened:
        take_over(context, opened, NAME)
        context.readiness.prepared()
        return asyncio.run(_serve(context, sender, opened))


async def _serve(context: RoleContext, sender: KafkaProducer, opened: SqlLedger) -> bool:
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
            group.create_task(enforce_retention(observed, context.config.ledger, context.observer, stop))
            group.create_task(publish_states(observed, context.config.endpoints.keys(), context.observer, stop))

    return await serving.until_stopped(context, sender, NAME, all_endpoints)


def reviewing(context: RoleContext) -> Reviewing:
    """Compares an operation with the current reference data; without current data nothing is sent."""

    def reviewed(operation: Operation, at: datetime) -> Review:
        if not context.reference.is_current():
            raise RetryLater("reference data is not current; operations wait until it is")
        return review(operation, context.reference, at)

    return reviewed


def deliveries(context: RoleContext, ledger: Ledger, watch: CorrectionWatch) -> list[Delivery]:
    """One delivery for each configured endpoint that is written over HTTP."""
    return [
        Delivery(
            DeliveryPorts(
                endpoint=name,
                kind=endpoint.kind,
                capabilities=endpoint.matrix,
                ehr=connect(name, endpoint, read_secret, now, context.observer),
                ledger=ledger,
                review=reviewing(context),
                clock=now,
                result_kinds=RESULT_KINDS,
            ),
            DeliveryMetrics(name, context.observer, now),
            on_charted=watch.note,
            spread=random.SystemRandom().random,
        )
        for name, endpoint in context.config.endpoints.items()
    ]
