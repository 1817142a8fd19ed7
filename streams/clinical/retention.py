"""Windows that retention removed before they were read: results that are lost. They are counted, audited and alarmed.

The ledger stores the count with the partition's position, and the audit events in the same transaction: each record counts
once, across restarts and workers. Windows that the ledger lost (a failover, a restored backup) and that cannot be read again
count too, because their results may be missing from the chart.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial as bound

from schemas.audit import Step
from schemas.config import Config
from schemas.ports.kafka import PartitionOffsets, Position
from schemas.ports.ledger import Ledger, OutboxEntries
from schemas.ports.observer import Observer
from streams.runtime.retry import retry_until_available

LoadKept = Callable[[int], Awaitable[PartitionOffsets]]
_log = logging.getLogger(__name__)


class Retention:
    """Looks for gaps where a partition is assigned, and where retention overtakes a worker."""

    def __init__(
        self, topic: str, config: Callable[[], Config], load_kept: LoadKept, ledger: Ledger, observer: Observer
    ) -> None:
        self._topic, self._config = topic, config
        self._load_kept, self._ledger, self._observer = load_kept, ledger, observer

    async def assigned(self, partition: int, durable: int | None) -> int | None:
        """Where the ledger wants the partition read from; None where it knows no position of it."""
        kept = await self._kept(partition)
        due = (kept.committed or 0) if durable is None else durable
        if kept.first <= due:
            return durable
        await self._count(partition, due, kept.first)
        return kept.first

    async def overtaken(self, partition: int, resumed: int) -> None:
        """Reading went on at `resumed`: what lies between there and the ledger's position is gone."""
        kept = await self._kept(partition)
        await self._count(partition, kept.committed or 0, min(resumed, kept.first))

    async def _kept(self, partition: int) -> PartitionOffsets:
        return await retry_until_available(bound(self._load_kept, partition), "kafka", self._observer)

    async def _count(self, partition: int, since: int, end: int) -> None:
        position = Position(self._topic, partition, end)
        removed = await retry_until_available(
            lambda: asyncio.to_thread(self._ledger.count_removed, position, since, bound(self._audited, position)),
            "ledger",
            self._observer,
        )
        if removed:
            _log.error(
                "retention removed %d windows before they were read: %s", removed, _source(position, end - removed)
            )
            self._observer.count("windows_removed_unread_total", removed, partition=str(partition))

    def _audited(self, position: Position, first: int) -> OutboxEntries:
        """To every tenant: the records are gone, and with them whose they were."""
        source = _source(position, first)
        tenants = sorted(self._config().tenants)
        return OutboxEntries("clinical", [Step(t, "windows.removed_unread", "failure", source=source) for t in tenants])


def _source(position: Position, first: int) -> str:
    return f"{position.topic}/{position.partition}/{first}-{position.next_offset - 1}"
