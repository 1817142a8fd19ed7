"""What is kept of the audit trail's chains, and where one does not hold: changed, missing, forged or without a number.

Proved is that nothing between the first and the last kept event of a chain was changed, taken out or put in. Not proved is
that nothing stood before the first (retention takes it, or somebody did) or after the last.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from schemas.audit import AuditEvent, event_hash


class Chain(NamedTuple):
    """One chain as it is kept: the numbers and times of its first and last event, and event_ids where it does not hold."""

    writer: str
    tenant_id: str
    first: int
    last: int
    first_at: datetime
    last_at: datetime
    broken: list[str]


class Trail(NamedTuple):
    """Every chain, and event_ids of what belongs to none: without a number, changed, or one number twice."""

    chains: list[Chain]
    strays: list[str]

    def broken(self) -> list[str]:
        """event_ids at which something does not hold."""
        return [*self.strays, *(event_id for chain in self.chains for event_id in chain.broken)]


def trail(events: Iterable[AuditEvent]) -> Trail:
    """Follow every chain. Exact repeats are one event; the order in which events come does not matter."""
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
    """event_ids at which a chain does not hold. That its beginning is kept no more is no break."""
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
