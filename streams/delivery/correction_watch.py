"""Watches pairings and patient records for changes that affect charted results, and lists those for review.

The ledger stores a fingerprint of every record that was compared, so that a change made while no worker ran is noticed too. A
changed record is compared twice: at once, and when every write begun under the old one must have settled. Only then is its
fingerprint stored. A result is listed once, by one of the workers, in the transaction that stores this; and again if it agreed
in between. A record that is closed or missing contradicts nothing: the comparison waits until there is one to be read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from time import monotonic
from typing import Any, NamedTuple

from schemas.audit import Step
from schemas.correction import Correction
from schemas.errors import RetryLater
from schemas.operation import Operation, State
from schemas.ports.clock import Clock
from schemas.ports.kafka import Outgoing
from schemas.ports.ledger import Ledger, OutboxEntries
from schemas.ports.observer import Observer
from schemas.ports.reference import ReferenceData
from schemas.topics import CORRECTIONS
from streams.delivery.corrections import (
    Span,
    agrees,
    changed_endpoints,
    changed_span,
    correction,
    hull,
    pairing_fingerprint,
    patient_fingerprint,
    remembered,
)

PAIRING, PATIENT, LISTED = "pairing", "patient", "correction"
LOOK_EVERY_S = 1.0
SETTLED_AFTER_S = 300.0
"""Longer than a lease and the stop of a worker: what was sent under the old record has settled by then, or is in doubt."""
PAGE = 500
FIRST_SEEN_A_LOOK = 200
"""Limit per pass for records that were never compared before (all of them, after an upgrade). Changed ones are not limited."""

Key = tuple[str, str]


class _Record(NamedTuple):
    """A pairing or a patient's record that is to be compared with charted results."""

    kind: str
    name: str
    fingerprint: str
    key: Key


class _Due(NamedTuple):
    """A record to be compared, within what changed since its fingerprint was stored."""

    record: _Record
    at_s: float
    is_last: bool
    span: Span | None
    endpoints: frozenset[str]


class CorrectionWatch:
    """One for each delivery process; `note` is called for each charted result."""

    def __init__(
        self,
        reference: ReferenceData,
        ledger: Ledger,
        observer: Observer,
        clock: Clock,
        settled_after_s: float,
        elapsed_s: Callable[[], float] = monotonic,
    ) -> None:
        self._reference = reference
        self._ledger = ledger
        self._observer = observer
        self._clock = clock
        self._settled_after_s = settled_after_s
        self._elapsed_s = elapsed_s
        self._version: int | None = None
        self._seen: dict[str, dict[Key, object]] = {PAIRING: {}, PATIENT: {}}
        self._compared: dict[str, dict[str, str]] = {}
        self._due: dict[tuple[str, str], _Due] = {}
        self._noted: set[str] = set()
        self._undecided: set[str] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Look every second until `stop`."""
        while not stop.is_set():
            try:
                await self.look()
            except RetryLater:
                self._observer.count("retries_total", dependency="ledger")
            try:
                async with asyncio.timeout(LOOK_EVERY_S):
                    await stop.wait()
            except TimeoutError:
                continue

    def note(self, operation: Operation) -> None:
        """A result was charted: the records may have changed while it was sent."""
        if not self._reference.is_current() or not agrees(operation, self._reference):
            self._noted.add(operation.operation_id)

    async def look(self) -> None:
        """Compare what changed, what is due for its second comparison, and what was noted. A failure leaves all of it due."""
        if not self._reference.is_current():
            return
        for operation_id in list(self._noted):
            operation = await asyncio.to_thread(self._ledger.operation, operation_id)
            if operation is not None and operation.state in (State.IN_PROGRESS, State.UNKNOWN):
                continue  # its outcome is not in the ledger yet
            if operation is not None and operation.state is State.SUCCEEDED:
                self._undecided |= await self._list([operation])
            self._noted.discard(operation_id)
        for record in await asyncio.to_thread(self._changed):
            self._schedule(record)
        for due in self._due_now():
            known = self._known(due.record)
            await self._compare(due)
            if self._known(due.record) is known:
                await self._finish(due)

    def _schedule(self, record: _Record) -> None:
        """A changed record is compared now and later; if it changes again meanwhile, within everything that changed since."""
        waiting = self._due.get((record.kind, record.name))
        before = waiting.record.fingerprint if waiting else self._compared[record.kind].get(record.name)
        span = changed_span(before, record.fingerprint) if record.kind == PAIRING else None
        endpoints = frozenset(changed_endpoints(before, record.fingerprint) if record.kind == PATIENT else ())
        if waiting is not None:
            span, endpoints = hull(span, waiting.span), endpoints | waiting.endpoints
        is_first_seen = waiting is None and before is None  # no write is under way under another state of it
        due = _Due(record, self._elapsed_s(), is_first_seen, span, endpoints)
        self._due[record.kind, record.name] = due

    def _due_now(self) -> list[_Due]:
        due = [
            one for one in self._due.values() if one.at_s <= self._elapsed_s() and self._known(one.record) is not None
        ]
        known = [one for one in due if one.record.name in self._compared[one.record.kind]]
        first_seen = [one for one in due if one.record.name not in self._compared[one.record.kind]]
        return known + first_seen[:FIRST_SEEN_A_LOOK]

    def _known(self, record: _Record) -> object:
        """The record as it may be used now; None while it is closed or missing."""
        lookup = self._reference.pairing if record.kind == PAIRING else self._reference.patient
        return lookup(*record.key)

    async def _finish(self, due: _Due) -> None:
        kind, name = due.record.kind, due.record.name
        if not due.is_last:
            self._due[kind, name] = due._replace(at_s=self._elapsed_s() + self._settled_after_s, is_last=True)
            return
        await asyncio.to_thread(self._ledger.mark_reviewed, kind, {name: due.record.fingerprint})
        self._compared[kind][name] = due.record.fingerprint
        del self._due[kind, name]

    # -- what changed -------------------------------------------------------------------------------------------------

    def _changed(self) -> list[_Record]:
        """Records other than those seen before. Reads whole mappings, so only when the version says that one changed."""
        if not self._compared:
            self._compared = {kind: self._ledger.reviewed_fingerprints(kind) for kind in (PAIRING, PATIENT)}
        version = self._reference.version()
        if version == self._version:
            return []
        self._noted |= self._undecided
        self._undecided.clear()
        changed = [*self._pairings(), *self._patients()]
        self._version = version
        return changed

    def _pairings(self) -> Iterator[_Record]:
        known = dict(self._reference.pairings())
        names = {key: self._ledger.keyed_hash(*key) for key in self._unseen(PAIRING, known)}
        for key, name in names.items():
            yield from self._differing(
                _Record(PAIRING, name, pairing_fingerprint(known[key], self._ledger.keyed_hash), key)
            )
        self._seen[PAIRING] = dict(known)

    def _patients(self) -> Iterator[_Record]:
        known = dict(self._reference.patients())
        for key in self._unseen(PATIENT, known):
            name = self._ledger.keyed_hash(*key)
            fingerprint = remembered(
                self._compared[PATIENT].get(name), patient_fingerprint(known[key], self._ledger.keyed_hash)
            )
            yield from self._differing(_Record(PATIENT, name, fingerprint, key))
        self._seen[PATIENT] = dict(known)

    def _unseen(self, kind: str, known: dict[Key, Any]) -> list[Key]:
        seen = self._seen[kind]
        return [key for key, record in known.items() if seen.get(key) is not record]

    def _differing(self, record: _Record) -> Iterator[_Record]:
        """A record that is as it was compared is compared again only if another state of it is due."""
        is_as_compared = record.fingerprint == self._compared[record.kind].get(record.name)
        if not is_as_compared or (record.kind, record.name) in self._due:
            yield record

    # -- what is in the chart ----------------------------------------------------------------------------------------

    async def _compare(self, due: _Due) -> None:
        tenant_id, patient_id = due.record.key
        for endpoint in due.endpoints:
            await self._compare_charted(patient=self._ledger.keyed_hash(tenant_id, endpoint, patient_id))
        if due.span is not None:
            await self._compare_charted(device=due.record.name, first=due.span.first, last=due.span.last)

    async def _compare_charted(self, **of: Any) -> None:
        after = 0
        while True:
            charted = await asyncio.to_thread(self._ledger.list_charted, **of, after=after, limit=PAGE)
            await self._list(charted)
            if len(charted) < PAGE:
                return
            after = charted[-1].sequence

    async def _list(self, charted: Sequence[Operation]) -> set[str]:
        """List what is contradicted, once; what agrees may be listed again, should it not. Gives what is neither."""
        compared = {one.operation_id: (one, correction(one, self._reference, self._clock())) for one in charted}
        reports = {key: _report(one, found) for key, (one, found) in compared.items() if found is not None}
        agreeing = {key for key, (one, _) in compared.items() if key not in reports and agrees(one, self._reference)}
        if agreeing:
            await asyncio.to_thread(self._ledger.mark_reviewed, LISTED, dict.fromkeys(agreeing))
        if reports:
            listed = await asyncio.to_thread(self._ledger.report_once, LISTED, reports)
            for operation_id in listed:
                self._observer.count("corrections_total", cause=reports[operation_id][0])
        return compared.keys() - reports.keys() - agreeing


def _report(operation: Operation, found: Correction) -> tuple[str, OutboxEntries]:
    return found.cause, OutboxEntries("delivery", [_step(operation, found)], [_outgoing(found)])


def _step(operation: Operation, found: Correction) -> Step:
    source = operation.intent.source.event_id
    return Step(
        found.tenant_id, "correction.listed", "success", found.operation_id, found.endpoint, source, found.cause
    )


def _outgoing(found: Correction) -> Outgoing:
    return Outgoing(CORRECTIONS, f"{found.tenant_id}|{found.patient_id}".encode(), found.model_dump_json().encode())
