"""Opening the ledger for a worker: it is migrated, then checked for lost transactions before anything is sent."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from adapters.kafka.group_offsets import group_offsets
from adapters.ledger import SqlLedger, migrate, open_ledger, require_sound
from mappings.result_kinds import RESULT_KINDS
from schemas.audit import Step
from schemas.ports.ledger import OutboxEntries
from schemas.topics import WINDOWS
from streams.delivery.audit import SettlementAudit
from streams.delivery.role import Pace
from streams.runtime.fail_fast import exit_process
from vitalwire.roles.context import RoleContext
from vitalwire.roles.serving import group_of
from vitalwire.settings import Settings

SETTLEMENT_SUBSCRIBERS = (SettlementAudit(RESULT_KINDS),)
"""What they return for an outcome goes to the outbox in the transaction that writes it."""
_log = logging.getLogger(__name__)
READER = "clinical"
"""The role that writes intents; its committed offsets show how far the ledger must reach."""


@contextmanager
def ledger(settings: Settings) -> Iterator[SqlLedger]:
    """The ledger, migrated to this version. The process ends if the ledger is later found in another database."""
    settings.data.mkdir(parents=True, exist_ok=True)
    require_sound(settings.database)
    migrate(settings.database)
    key, subscribers = settings.ledger_encryption(), SETTLEMENT_SUBSCRIBERS
    opened = open_ledger(settings.database, key, ended=exit_process, subscribers=subscribers)
    try:
        yield opened
    finally:
        opened.close()


def take_over(context: RoleContext, opened: SqlLedger, role: str) -> None:
    """Compare the ledger with Kafka. If it lost transactions, nothing in it is sent before the chart was searched."""
    settings = context.settings
    topic = WINDOWS.prefixed(settings.topic_prefix)
    reached = group_offsets(settings.bootstrap_servers(), group_of(settings, READER), topic)
    tenants = sorted(context.config.tenants)
    entries = OutboxEntries(
        role, [Step(tenant, "ledger.went_back", "failure", reason="in_doubt") for tenant in tenants]
    )
    if opened.take_over(topic, reached, Pace().lease_s, entries):
        _log.critical(
            "the ledger lost committed transactions (failover or restored backup); its open operations are in doubt"
        )
        context.observer.count("ledger_went_back_total")
