"""One attempt to write one operation: review, encounter, one request, the verdict; and the search that settles doubt.

Nothing here decides what an answer means (`streams.delivery.verdict`) or when to try again (`streams.delivery.role`).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

import orjson

from mappings.observation.match import compare
from schemas.capabilities import Capabilities
from schemas.ehr import EhrResponse, SearchMatches
from schemas.endpoint_kinds import EndpointKind
from schemas.errors import RetryLater
from schemas.instants import MICROSECOND
from schemas.operation import Operation, State
from schemas.ports.clock import Clock
from schemas.ports.ehr import EhrEndpoint
from schemas.ports.ledger import Ledger
from streams.delivery.absences import EncounterAbsences
from streams.delivery.amending import Plan, plan
from streams.delivery.audit import readdressed
from streams.delivery.doubt import Doubt
from streams.delivery.refusals import TokenRefusals
from streams.delivery.review import Readdress, Review, Stop
from streams.delivery.verdict import MESSAGES, AttemptContext, Verdict, judge, judge_search, verdict_of

log = logging.getLogger(__name__)
Reviewing = Callable[[Operation, datetime], Review]
"""Compares an operation with the current records; RetryLater while they are not current."""


class Gate(Protocol):
    """Whether an attempt may go on now, and one of the endpoint's places to do so."""

    places: asyncio.Semaphore

    def closed(self) -> str | None:
        """Why nothing may be sent now (a code), or None."""
        ...


class Attempted(NamedTuple):
    """The verdict and its evidence."""

    verdict: Verdict
    http_status: int | None = None
    request: bytes | None = None
    response: bytes | None = None
    in_doubt: bool = False
    """It may have been written, and was not found by a complete search, or nobody could search."""


class _LastCheck:
    """Asked when the first byte of a write would go out; keeps why it was refused."""

    def __init__(self, decide: Callable[[], Verdict | None], doubt: Doubt) -> None:
        self._decide = decide
        self._doubt = doubt
        self.refusal: Verdict | None = None

    def __call__(self) -> bool:
        self.refusal = self._decide()
        if self.refusal is None:
            self._doubt.opens()
        return self.refusal is None


@dataclass(frozen=True)
class Attempts:
    """How operations of one endpoint are attempted."""

    kind: EndpointKind
    capabilities: Capabilities
    ehr: EhrEndpoint
    review: Reviewing
    clock: Clock
    gate: Gate
    ledger: Ledger
    search_delays_s: tuple[float, ...]
    encounter_wait_s: float
    refusals: TokenRefusals = field(default_factory=TokenRefusals)
    absences: EncounterAbsences = field(default_factory=EncounterAbsences)

    async def make(self, operation: Operation, send_before: Callable[[], bool]) -> Attempted:
        """One attempt. `send_before` tells whether the lease leaves time to send. Never raises, but when cancelled."""
        doubt = Doubt(operation)
        try:
            attempted = await self._make(operation, send_before, doubt)
        except RetryLater:
            attempted = Attempted(Verdict(State.DEFERRED, "ledger_away", None))
        except Exception as error:
            # A defect of ours: neither its operation nor the worker may be lost over it, and its text may hold PHI.
            log.error("operation could not be handled", extra={"error": type(error).__name__})  # noqa: TRY400
            attempted = Attempted(verdict_of(State.HELD, "internal_error"))
        return attempted._replace(verdict=doubt.over(attempted.verdict), in_doubt=doubt.stays)

    async def _make(self, operation: Operation, send_before: Callable[[], bool], doubt: Doubt) -> Attempted:
        if operation.state is State.UNKNOWN:
            return await self._settle_doubt(operation, doubt)
        agreed = await self._agreed(operation)
        if isinstance(agreed, Verdict):
            return Attempted(agreed)
        operation = agreed
        planned = await plan(operation, self.capabilities.of(operation.intent.resource_type), self.ledger)
        if isinstance(planned, Verdict):
            return Attempted(planned)
        asked = self._asked(operation, planned)
        if asked.capabilities.encounter == "required":
            found = await self._encounter(operation, asked)
            if isinstance(found, Attempted):
                return found
            planned.resource["encounter"] = {"reference": found}
        return await self._write(operation, planned, asked, send_before, doubt)

    async def _write(
        self, operation: Operation, planned: Plan, asked: AttemptContext, send_before: Callable[[], bool], doubt: Doubt
    ) -> Attempted:
        last = _LastCheck(lambda: self._kept_back(operation, send_before), doubt)
        async with self.gate.places:
            kept_back = self._kept_back(operation, send_before)
            if kept_back is not None:
                return Attempted(kept_back)
            if planned.target is not None and planned.target.resource_id is not None:
                target = planned.target
                answer = await self.ehr.update(str(target.resource_id), target.version, planned.resource, last)
            else:
                answer = await self.ehr.create(planned.resource, operation.intent, last)
        if last.refusal is not None and not answer.sent:
            doubt.answered(last.refusal)
            return Attempted(last.refusal)
        self.refusals.note(operation.operation_id, answer)
        verdict = judge(asked, operation.intent.resource_type, answer, self.clock())
        doubt.answered(verdict)
        if planned.target is not None and verdict.state is State.SUCCEEDED and verdict.resource_id is None:
            verdict = verdict._replace(resource_id=planned.target.resource_id)
        if verdict.state is State.UNKNOWN:
            looked = await self._look(operation, planned, asked, doubt)
            return looked._replace(http_status=answer.status, request=_bytes(planned), response=answer.body or None)
        return Attempted(verdict, answer.status, _bytes(planned), answer.body or None)

    async def _agreed(self, operation: Operation) -> Operation | Verdict:
        """The operation as the current records would have it; its corrected address is durable before it is used."""
        reviewed = self._reviewed(operation)
        if not isinstance(reviewed, Readdress):
            return operation if reviewed is None else reviewed
        claim, told = (operation.operation_id, operation.fence), readdressed(operation)
        if not await asyncio.to_thread(self.ledger.readdress, *claim, reviewed.intent, told):
            return verdict_of(State.DEFERRED, "stale_claim")
        return operation.model_copy(update={"intent": reviewed.intent})

    def _kept_back(self, operation: Operation, send_before: Callable[[], bool]) -> Verdict | None:
        """Why it may not be sent at this very moment, or None."""
        closed = self.gate.closed() or (None if send_before() else "lease_short")
        if closed is not None:
            return verdict_of(State.DEFERRED, closed)
        reviewed = self._reviewed(operation)
        return verdict_of(State.DEFERRED, "readdressed") if isinstance(reviewed, Readdress) else reviewed

    def _reviewed(self, operation: Operation) -> Readdress | Verdict | None:
        """What the current records ask for: another address, or that it is not sent; None where they agree."""
        try:
            reviewed = self.review(operation, self.clock())
        except RetryLater as away:
            return verdict_of(State.DEFERRED, "consent_unavailable")._replace(retry_after_s=away.after_s)
        return verdict_of(reviewed.state, reviewed.code) if isinstance(reviewed, Stop) else reviewed

    def _asked(self, operation: Operation, planned: Plan) -> AttemptContext:
        refusals = self.refusals.before(operation.operation_id)
        return AttemptContext(
            self.kind, self.capabilities.of(operation.intent.resource_type), planned.action, operation.code, refusals
        )

    # -- the encounter -------------------------------------------------------------------------------------------------

    async def _encounter(self, operation: Operation, asked: AttemptContext) -> str | Attempted:
        async with self.gate.places:
            closed = self.gate.closed()
            if closed is not None:
                return Attempted(verdict_of(State.DEFERRED, closed))
            intent = operation.intent
            measured = intent.source.last_time or intent.occurred_at - MICROSECOND  # the end of a window is exclusive
            reference, answer = await self.ehr.active_encounter(intent.subject_id, measured)
        if reference is not None:
            self.absences.end(operation.operation_id)
            return reference
        if answer is not None and not _complete(answer):
            self.absences.end(operation.operation_id)
            self.refusals.note(operation.operation_id, answer)
            verdict = judge(asked._replace(action="search"), "Encounter", answer, self.clock())
            if verdict.state is State.SUCCEEDED:  # a page of the search is missing: not an absence
                verdict = verdict_of(State.DEFERRED, "no_answer")
            return Attempted(verdict, answer.status, None, answer.body or None)
        if self.absences.waited_s(operation.operation_id, operation.claimed_at or self.clock()) > self.encounter_wait_s:
            self.absences.end(operation.operation_id)
            return Attempted(verdict_of(State.HELD, "no_encounter", "no_encounter_held"))
        return Attempted(verdict_of(State.DEFERRED, "no_encounter"), answer.status if answer else None)

    # -- settling doubt -----------------------------------------------------------------------------------------------

    async def _settle_doubt(self, operation: Operation, doubt: Doubt) -> Attempted:
        planned = await plan(operation, self.capabilities.of(operation.intent.resource_type), self.ledger)
        if isinstance(planned, Verdict):
            return Attempted(planned)
        return await self._look(operation, planned, self._asked(operation, planned), doubt)

    async def _look(self, operation: Operation, planned: Plan, asked: AttemptContext, doubt: Doubt) -> Attempted:
        """Search the chart, several times because an index may lag, until the result is there or surely is not."""
        found = SearchMatches((), 0)
        answer: EhrResponse | None = None
        for delay_s in self.search_delays_s:
            await asyncio.sleep(delay_s)
            async with self.gate.places:
                candidates, answer = await self.ehr.find(operation.intent)
            if not _complete(answer):
                self.refusals.note(operation.operation_id, answer)
                return self._still_unknown(asked, doubt.cause, answer)
            found = compare(planned.resource, candidates)
            if found.same:
                break
        verdict = judge_search(asked, doubt.cause, found)
        doubt.searched()
        return Attempted(verdict, answer.status if answer else None, None, answer.body if answer else None)

    def _still_unknown(self, asked: AttemptContext, cause: str | None, answer: EhrResponse) -> Attempted:
        """The search failed: the doubt stays, with its cause, unless only a person can make searching possible."""
        search = judge(asked._replace(action="search"), asked.action, answer, self.clock())
        if search.state is State.HELD:
            return Attempted(search, answer.status, None, answer.body or None)
        verdict = Verdict(
            State.UNKNOWN, cause, MESSAGES["no_answer"], search.retry_after_s, whole_endpoint=search.whole_endpoint
        )
        return Attempted(verdict, answer.status, None, answer.body or None)


def _complete(answer: EhrResponse) -> bool:
    return answer.status == 200 and answer.error is None


def _bytes(planned: Plan) -> bytes:
    return orjson.dumps(planned.resource)
