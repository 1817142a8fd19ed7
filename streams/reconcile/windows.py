"""The windows topic as the report needs it, and from when on a topic is complete."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated

import msgspec

from schemas.ports.kafka import ConsumedRecord
from schemas.ports.reconciliation import ClosedWindow, ReadingPosition, ReconciliationStore, WindowSpan

Int = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class _Source(msgspec.Struct, gc=False):
    partition: Int
    first_offset: Int
    last_offset: Int


class _Named(msgspec.Struct, gc=False):
    offset: Int
    index: Int = 0


class _Window(msgspec.Struct):
    window_id: str
    content_hash: str
    tenant_id: str
    device_id: str
    type: str
    start: str
    end: str
    count: Int
    publish: bool
    source: _Source
    duplicates: Int = 0
    revision: Int = 0
    supersedes: list[_Named] = []


class RetainedSince:
    """When the first retained record was appended; -1 if retention has removed nothing."""

    def __init__(self) -> None:
        self.by_partition: dict[int, int] = {}

    def note(self, record: ConsumedRecord) -> None:
        """Call it with every record."""
        self.by_partition.setdefault(record.partition, record.appended_ms if record.offset > 0 else -1)

    def newest(self) -> int:
        """From here on every partition is complete. A partition without records says nothing."""
        return max(self.by_partition.values(), default=-1)


_window = msgspec.json.Decoder(_Window).decode


def read_windows(records: Iterable[ConsumedRecord], store: ReconciliationStore, retained: RetainedSince) -> int:
    """Add every window to the store; returns how many records cannot be read.

    An amendment repeats readings that were counted before, or as late: the store counts the first revision.
    """
    unreadable = 0
    for record in records:
        retained.note(record)
        try:
            store.add_window(_closed(_window(record.value or b""), record.appended_ms))
        except (msgspec.MsgspecError, ValueError, RecursionError, OverflowError):
            unreadable += 1
    return unreadable


def _closed(window: _Window, appended_ms: int) -> ClosedWindow:
    source = window.source
    return ClosedWindow(
        window_id=window.window_id,
        revision=window.revision,
        content_hash=window.content_hash,
        span=WindowSpan(window.tenant_id, window.device_id, window.type, _ms(window.start)),
        end_ms=_ms(window.end),
        partition=source.partition,
        first_offset=source.first_offset,
        last_offset=source.last_offset,
        readings=window.count,
        duplicates=window.duplicates,
        publish=window.publish,
        appended_ms=appended_ms,
        supersedes=[ReadingPosition(source.partition, one.offset, one.index) for one in window.supersedes],
    )


def _ms(at: str) -> int:
    return round(datetime.fromisoformat(at).timestamp() * 1000)
