"""Audit events in hash chains: whoever changes, drops or reorders one breaks the chain that follows it.

Each process writes chains of its own, one a tenant, so that no two writers ever wait for each other. Source of the need:
45 CFR §164.312(b) and (c), audit controls and integrity.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal, NamedTuple

import orjson

from schemas.messages import AuditEvent
from schemas.ports import Clock, Observer, Outgoing, Producer
from schemas.topics import AUDIT
from streams.insist import insist


class Step(NamedTuple):
    """One step to be audited. No field may hold a patient's name or a value measured."""

    tenant_id: str
    action: str
    outcome: Literal["success", "refused", "failure"]
    operation_id: str | None = None
    endpoint: str | None = None
    source: str | None = None
    reason: str | None = None
    actor: str | None = None


class AuditChain:
    """The chains of one process. `writer` must be unique to the process's life, e.g. instance and start time."""

    def __init__(self, role: str, writer: str) -> None:
        self._role = role
        self._writer = writer
        self._last: dict[str, tuple[int, str | None]] = {}

    def extend(self, steps: Iterable[Step], at: datetime) -> list[AuditEvent]:
        """The steps as the next events of their tenants' chains."""
        return [self._next(step, at) for step in steps]

    def _next(self, step: Step, at: datetime) -> AuditEvent:
        number, previous = self._last.get(step.tenant_id, (0, None))
        event = AuditEvent(
            event_id=f"{self._writer}/{step.tenant_id}/{number}",
            at=at,
            role=self._role,
            writer=self._writer,
            previous=previous,
            **step._asdict(),
        )
        chained = event.model_copy(update={"hash": event_hash(event)})
        self._last[step.tenant_id] = (number + 1, chained.hash)
        return chained


class AuditTrail:
    """Writes steps to `audit.events` and returns when they are confirmed."""

    def __init__(self, chain: AuditChain, producer: Producer, clock: Clock, observer: Observer) -> None:
        self._chain = chain
        self._producer = producer
        self._clock = clock
        self._observer = observer

    async def write(self, steps: Sequence[Step], alongside: Sequence[Outgoing] = ()) -> None:
        """Produce the steps, and other records with them in one go, until Kafka confirms all."""
        records = [*alongside, *map(_outgoing, self._chain.extend(steps, self._clock()))]
        if not records:
            return
        await insist(lambda: self._producer.send(records), "kafka", self._observer)
        for step in steps:
            self._observer.count("audit_events_total", action=step.action, outcome=step.outcome)


def event_hash(event: AuditEvent) -> str:
    """SHA-256 over everything the event says, the previous event's hash included."""
    said = event.model_dump(mode="json", exclude={"hash"})
    return hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()


def broken_links(events: Iterable[AuditEvent]) -> list[str]:
    """event_ids at which a chain does not hold: changed, missing or forged before it. Exact repeats are one event."""
    chains: dict[tuple[str, str], dict[int, AuditEvent]] = {}
    broken: list[str] = []
    for event in events:
        number = event.event_id.rpartition("/")[2]
        chain = chains.setdefault((event.writer or "", event.tenant_id), {})
        if event.hash != event_hash(event) or not number.isdecimal() or chain.get(int(number), event) != event:
            broken.append(event.event_id)
        else:
            chain[int(number)] = event
    for chain in chains.values():
        broken += [event.event_id for number, event in sorted(chain.items()) if not _follows(chain, number, event)]
    return broken


def _follows(chain: dict[int, AuditEvent], number: int, event: AuditEvent) -> bool:
    if number == 0:
        return event.previous is None
    before = chain.get(number - 1)
    return before is not None and before.hash == event.previous


def _outgoing(event: AuditEvent) -> Outgoing:
    return Outgoing(AUDIT, event.tenant_id.encode(), event.model_dump_json().encode())
