"""Readings that retention removed before they were read: a loss that is counted, audited, and kept in the progress.

The count is stored in the same record as the partition's position, so that it stays exact over restarts. A reading whose
window was still open when its worker died has to be read again; if it is gone by then, it counts too.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection
from functools import partial as bound

from schemas.errors import Unsafe
from schemas.ports.kafka import PartitionOffsets
from schemas.ports.observer import Observer
from schemas.progress import PartitionProgress
from streams.audit.trail import AuditTrail, Step
from streams.runtime.retry import retry_until_available

LoadKept = Callable[[int], Awaitable[PartitionOffsets]]
_log = logging.getLogger(__name__)


class RemovedRecords:
    """What was removed unread of one partition: how many, and the gaps that a restart would find again."""

    def __init__(self, known: PartitionProgress | None) -> None:
        self.total = known.removed_unread if known else 0
        self.gaps = list(known.counted_gaps) if known else []

    def uncounted(self, first: int, end: int) -> int:
        """How many of these offsets were not counted before."""
        counted = sum(max(0, min(end, gap_end) - max(first, gap_first)) for gap_first, gap_end in self.gaps)
        return max(0, end - first) - counted

    def add(self, first: int, end: int) -> None:
        """Count these offsets."""
        self.total += self.uncounted(first, end)
        separate = [gap for gap in self.gaps if gap[1] < first or end < gap[0]]
        touching = [gap for gap in self.gaps if gap not in separate]
        merged = (min([first, *(gap[0] for gap in touching)]), max([end, *(gap[1] for gap in touching)]))
        self.gaps = sorted([*separate, merged])

    def added_to(self, progress: PartitionProgress) -> PartitionProgress:
        """The progress with the count. A gap before the settled offset is never read again, so it is dropped."""
        self.gaps = [gap for gap in self.gaps if gap[1] > progress.settled]
        return progress.model_copy(update={"removed_unread": self.total, "counted_gaps": tuple(self.gaps)})


class Retention:
    """Detects gaps when a partition is assigned, and when retention overtakes a worker."""

    def __init__(
        self, topic: str, tenants: Collection[str], load_kept: LoadKept, audit: AuditTrail, observer: Observer
    ) -> None:
        self._topic, self._tenants = topic, sorted(tenants)
        self._load_kept, self._audit, self._observer = load_kept, audit, observer
        self._removed: dict[int, RemovedRecords] = {}
        self._begin: dict[int, int] = {}

    async def assigned(self, partition: int, known: PartitionProgress | None) -> int | None:
        """The first offset that can be read, if retention removed the one that should be read; else None."""
        self._removed[partition] = RemovedRecords(known)
        kept = await self._kept(partition)
        due = max(kept.committed or 0, known.settled if known else 0)
        self._begin[partition] = max(due, kept.first)
        if kept.first <= due:
            return None
        await self._count(partition, due, kept.first)
        return kept.first

    async def overtaken(self, partition: int, position: int | None, resumed: int) -> None:
        """The record at `position` was gone, and reading resumed at `resumed`.

        Without a position nothing was read since the partition was assigned; `resumed` may be before what is settled.
        """
        due = max(position or 0, self._begin[partition])
        if position is not None and resumed < position:
            raise Unsafe(
                f"partition {partition} of {self._topic} ends before what was read: the broker lost records it had "
                "confirmed, or the topic was recreated. Check that its replicas are complete, then start again."
            )
        kept = await self._kept(partition)
        await self._count(partition, due, min(resumed, kept.first))

    def with_removed(self, progress: PartitionProgress) -> PartitionProgress:
        """The progress as it is to be written, with the count of removed records."""
        return self._removed[progress.partition].added_to(progress)

    async def _kept(self, partition: int) -> PartitionOffsets:
        return await retry_until_available(bound(self._load_kept, partition), "kafka", self._observer)

    async def _count(self, partition: int, first: int, end: int) -> None:
        """Audited first: a crash in between repeats the audit event, and loses nothing."""
        counted = self._removed[partition]
        removed = counted.uncounted(first, end)
        if not removed:
            return
        source = f"{self._topic}/{partition}/{first}-{end - 1}"
        _log.error("retention removed %d records before they were read: %s", removed, source)
        self._observer.count("readings_removed_unread_total", removed, partition=str(partition))
        # The tenants of removed records are unknown, so every tenant's audit trail gets the event.
        steps = [Step(tenant, "readings.removed_unread", "failure", source=source) for tenant in self._tenants]
        await self._audit.write(steps)
        counted.add(first, end)
