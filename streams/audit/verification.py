"""Verifies the retained part of each audit chain: events that are changed, missing, forged or without a number.

A valid chain proves that no event between its first and last retained one was changed, removed or inserted. It does not prove
that no event was removed before the first (by retention or deliberately) or after the last.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from schemas.audit import AuditEvent, event_hash


class Chain(NamedTuple):
    """The retained part of a chain: numbers and times of its first and last event, and the event_ids of its breaks."""

    writer: str
    tenant_id: str
    first: int
    last: int
    first_at: datetime
    last_at: datetime
    broken: list[str]


class Trail(NamedTuple):
    """Every chain, and the event_ids that belong to none: without a number, changed, or with a number used twice."""

    chains: list[Chain]
    strays: list[str]

    def broken(self) -> list[str]:
        """The event_ids of all breaks."""
        return [*self.strays, *(event_id for chain in self.chains for event_id in chain.broken)]


def trail(events: Iterable[AuditEvent]) -> Trail:
    """Verify every chain. Exact repeats count as one event; the order of arrival does not matter."""
    kept: dict[tuple[str, str], dict[int, AuditEvent]] = {}
    strays: list[str] = []
    for event in events:
        number = event.event_id.rpartition("/")[2]
        chain = kept.setdefault((event.writer or "", event.tenant_id), {})
        if event.hash != event_hash(event) or not number.isdecimal() or chain.get(int(number), event) != event:
            strays.append(event.event_id)
        else:
            chain[int(number)] = event
    return Trail([_followed(*name, chain) for name, chain in sorted(kept.items()) if chain], strays)


def broken_links(events: Iterable[AuditEvent]) -> list[str]:
    """The event_ids at which a chain is broken. A beginning removed by retention is not a break."""
    return trail(events).broken()


def _followed(writer: str, tenant_id: str, chain: dict[int, AuditEvent]) -> Chain:
    first, last = min(chain), max(chain)
    broken = [event.event_id for number, event in sorted(chain.items()) if not _follows(chain, first, number)]
    return Chain(writer, tenant_id, first, last, chain[first].at, chain[last].at, broken)


def _follows(chain: dict[int, AuditEvent], first: int, number: int) -> bool:
    event, before = chain[number], chain.get(number - 1)
    if number == first:
        return (event.previous is None) == (number == 0)
    return before is not None and before.hash == event.previous
