"""The clinical role: windows to intents in the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from adapters.kafka.kept_offsets import KeptOffsets
from adapters.kafka.producer import KafkaProducer
from adapters.ledger import ObservedLedger, SqlLedger
from mappings.observation.kind import OBSERVATION
from schemas.config import Config
from schemas.topics import WINDOWS
from schemas.window import Window
from streams.clinical.intents import Render
from streams.clinical.recording import ClinicalPorts
from streams.clinical.role import ClinicalRole
from streams.runtime.outbox import OutboxPublisher, published
from vitalwire.configuration import file_reader
from vitalwire.roles import serving
from vitalwire.roles.context import RoleContext, now, producer, role_context
from vitalwire.roles.ledger_takeover import ledger, take_over
from vitalwire.roles.readiness import LEDGER
from vitalwire.settings import Settings

NAME = "clinical"


def run(settings: Settings) -> bool:
    """Run until SIGTERM. True: restart with the changed configuration."""
    with role_context(settings, LEDGER) as context, producer(settings) as sender, ledger(settings) as opened:
        take_over(context, opened, NAME)
        return asyncio.run(_serve(context, sender, opened))


async def _serve(context: RoleContext, sender: KafkaProducer, opened: SqlLedger) -> bool:
    outbox = OutboxPublisher(ObservedLedger(opened, context.observer), sender, context.observer, context.instance)
    work = serving.Batches(clinical_role(context, opened, sender), WINDOWS)
    async with published(outbox):
        return await serving.batches(context, sender, NAME, work)


def clinical_role(context: RoleContext, opened: SqlLedger, sender: KafkaProducer) -> ClinicalRole:
    """The clinical role over its ports."""
    topic = WINDOWS.prefixed(context.settings.topic_prefix)
    kept = KeptOffsets(context.settings.bootstrap_servers(), serving.group_of(context.settings, NAME), topic)
    return ClinicalRole(
        ClinicalPorts(
            config=lambda: context.config,
            reference=context.reference,
            render=renderer(context.settings, context.config),
            ledger=ObservedLedger(opened, context.observer),
            producer=sender,
            observer=context.observer,
            clock=now,
            load_kept=kept.load,
        ),
        topic=topic,
    )


def renderer(settings: Settings, config: Config) -> Render:
    """Windows → Observation as each configured endpoint takes it, by the site's template where it has one."""
    read = file_reader(settings.configuration())
    renderers = {
        name: OBSERVATION.renderer(config, name, read(endpoint.template) if endpoint.template else None)
        for name, endpoint in config.endpoints.items()
    }

    def render(endpoint: str, windows: Sequence[Window], subject_id: str) -> dict[str, Any]:
        return renderers[endpoint](windows, subject_id)

    return render
