"""A worker takes the ledger up before it does anything with it: a ledger that went back is in doubt before anything is sent."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from adapters.kafka.group_offsets import group_offsets
from adapters.ledger import SqlLedger, migrate, open_ledger, require_sound
from schemas.audit import Step
from schemas.ports.ledger import Beside
from schemas.topics import WINDOWS
from streams.delivery.role import Pace
from streams.runtime.fail_fast import end
from vitalwire.roles.context import RoleContext
from vitalwire.roles.serving import group_of
from vitalwire.settings import Settings

_log = logging.getLogger(__name__)
READER = "clinical"
"""The role whose intents stand in the ledger, and whose committed offsets witness them."""


@contextmanager
def ledger(settings: Settings) -> Iterator[SqlLedger]:
    """The ledger, brought to this version's tables. Found in another database later, it ends the process."""
    settings.data.mkdir(parents=True, exist_ok=True)
    require_sound(settings.database)
    migrate(settings.database)
    opened = open_ledger(settings.database, settings.ledger_encryption(), ended=end)
    try:
        yield opened
    finally:
        opened.close()


def take_up(context: RoleContext, opened: SqlLedger, role: str) -> None:
    """Compare the ledger with what stands on Kafka. Where it went back: nothing in it is sent until the chart was searched."""
    settings = context.settings
    topic = WINDOWS.prefixed(settings.topic_prefix)
    reached = group_offsets(settings.bootstrap_servers(), group_of(settings, READER), topic)
    tenants = sorted(context.config.tenants)
    told = Beside(role, [Step(tenant, "ledger.went_back", "failure", reason="in_doubt") for tenant in tenants])
    if opened.take_up(topic, reached, Pace().lease_s, told):
        _log.critical("the ledger went back: a failover or a restored backup; all that is open in it is in doubt")
        context.observer.count("ledger_went_back_total")
