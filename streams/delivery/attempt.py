"""One attempt to write one operation: review, encounter, one request, one verdict; or the search for a write in doubt.

Nothing here decides what a response means (`streams.delivery.verdict`), what a resource says (`mappings.result_kind`) or when
to retry (`streams.delivery.endpoint_gate`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from schemas.ehr import Acknowledgement, EhrResponse
from schemas.errors import RetryLater
from schemas.operation import Operation, State
from schemas.ports.ehr import LastCheck
from streams.delivery.amending import WritePlan, plan_write
from streams.delivery.attempt_result import AttemptResult, with_evidence
from streams.delivery.chart_search import ChartSearch
from streams.delivery.encounter_lookup import EncounterLookup
from streams.delivery.endpoint_gate import EndpointGate
from streams.delivery.in_doubt import InDoubtWrite
from streams.delivery.ports import DeliveryPorts
from streams.delivery.presend_checks import LeaseCheck, PresendChecks
from streams.delivery.token_refusals import TokenRefusals
from streams.delivery.verdict import AttemptContext, Verdict, judge_response, verdict_of

log = logging.getLogger(__name__)


class _FinalCheck:
    """Called before the first byte of a write is sent; records why the write was stopped."""

    def __init__(self, decide: Callable[[], Verdict | None], write: InDoubtWrite) -> None:
        self._decide = decide
        self._write = write
        self.stop: Verdict | None = None

    def __call__(self) -> bool:
        self.stop = self._decide()
        if self.stop is None:
            self._write.begin()
        return self.stop is None


class Attempts:
    """How operations of one endpoint are attempted."""

    def __init__(
        self, ports: DeliveryPorts, gate: EndpointGate, search_delays_s: tuple[float, ...], encounter_wait_s: float
    ) -> None:
        self._ports = ports
        self._gate = gate
        self._refusals = TokenRefusals()
        self._checks = PresendChecks(ports, gate)
        self._encounters = EncounterLookup(ports, gate, self._refusals, encounter_wait_s)
        self._chart = ChartSearch(ports, gate, self._refusals, search_delays_s)

    async def make(self, operation: Operation, lease_allows: LeaseCheck) -> AttemptResult:
        """One attempt. Never raises, unless it is cancelled."""
        write = InDoubtWrite(operation)
        try:
            result = await self._make(operation, lease_allows, write)
        except RetryLater:
            result = AttemptResult(Verdict(State.DEFERRED, "ledger_away", None))
        except Exception as error:
            # A defect of ours: neither its operation nor the worker may be lost over it, and its text may hold PHI.
            log.error("operation could not be processed", extra={"error": type(error).__name__})  # noqa: TRY400
            result = AttemptResult(verdict_of(State.HELD, "internal_error"))
        return result._replace(verdict=write.restrict(result.verdict), in_doubt=write.remains)

    async def _make(self, operation: Operation, lease_allows: LeaseCheck, write: InDoubtWrite) -> AttemptResult:
        if operation.state is State.UNKNOWN:
            return await self._settle_doubt(operation, write)
        reviewed = await self._checks.reviewed(operation)
        if isinstance(reviewed, Verdict):
            return AttemptResult(reviewed)
        planned = await self._plan(reviewed)
        if isinstance(planned, Verdict):
            return AttemptResult(planned)
        context = self._context(reviewed, planned)
        if context.capabilities.encounter == "required":
            encounter = await self._encounters.reference(reviewed, context)
            if isinstance(encounter, AttemptResult):
                return encounter
            kind = self._ports.result_kind(reviewed)
            planned = planned._replace(resource=kind.with_encounter(planned.resource, encounter))
        return await self._write(reviewed, planned, context, lease_allows, write)

    async def _settle_doubt(self, operation: Operation, write: InDoubtWrite) -> AttemptResult:
        planned = await self._plan(operation)
        if isinstance(planned, Verdict):
            return AttemptResult(planned)
        return await self._chart.settle(operation, planned, self._context(operation, planned), write)

    async def _plan(self, operation: Operation) -> WritePlan | Verdict:
        if operation.intent.resource_type not in self._ports.result_kinds:
            return verdict_of(State.HELD, "create_unsupported")
        capabilities = self._ports.resource_capabilities(operation)
        return await plan_write(operation, self._ports.result_kind(operation), capabilities, self._ports.ledger)

    def _context(self, operation: Operation, planned: WritePlan) -> AttemptContext:
        capabilities = self._ports.resource_capabilities(operation)
        refusals = self._refusals.count(operation.operation_id)
        return AttemptContext(self._ports.kind, capabilities, planned.action, operation.code, refusals)

    # -- writing ------------------------------------------------------------------------------------------------------

    async def _write(
        self,
        operation: Operation,
        planned: WritePlan,
        context: AttemptContext,
        lease_allows: LeaseCheck,
        write: InDoubtWrite,
    ) -> AttemptResult:
        final_check = _FinalCheck(lambda: self._checks.blocked(operation, lease_allows), write)
        async with self._gate.slots:
            blocked = self._checks.blocked(operation, lease_allows)
            if blocked is not None:
                return AttemptResult(blocked)
            response = await self._send(operation, planned, final_check)
        if final_check.stop is not None and not response.sent:
            write.resolve_by_response(final_check.stop)
            return AttemptResult(final_check.stop)
        self._refusals.note(operation.operation_id, response)
        verdict = self._verdict(operation, planned, context, response)
        write.resolve_by_response(verdict)
        if verdict.state is State.UNKNOWN:
            found = await self._chart.settle(operation, planned, context, write)
            return with_evidence(found.verdict, response)
        return with_evidence(verdict, response)

    async def _send(self, operation: Operation, planned: WritePlan, last_check: LastCheck) -> EhrResponse:
        target = planned.target
        if target is not None and target.resource_id is not None:
            return await self._ports.ehr.update(target.resource_id, target.version, planned.resource, last_check)
        response = await self._ports.ehr.create(planned.resource, last_check)
        if response.acknowledgement is not Acknowledgement.ACCEPT:
            self._ports.ehr.forget_encounters(operation.intent.subject_id)  # one may have closed since it was looked up
        return response

    def _verdict(
        self, operation: Operation, planned: WritePlan, context: AttemptContext, response: EhrResponse
    ) -> Verdict:
        verdict = judge_response(context, operation.intent.resource_type, response, self._ports.clock())
        if planned.target is not None and verdict.state is State.SUCCEEDED and verdict.resource_id is None:
            return verdict._replace(resource_id=planned.target.resource_id)
        return verdict
