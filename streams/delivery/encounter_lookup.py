"""The encounter that a result belongs to, at an EHR that requires one."""

from __future__ import annotations

from schemas.ehr import EhrResponse
from schemas.instants import MICROSECOND
from schemas.operation import Operation, State
from streams.delivery.attempt_result import AttemptResult
from streams.delivery.ehr_response import is_complete
from streams.delivery.encounter_absences import EncounterAbsences
from streams.delivery.endpoint_gate import EndpointGate
from streams.delivery.ports import DeliveryPorts
from streams.delivery.token_refusals import TokenRefusals
from streams.delivery.verdict import AttemptContext, judge_response, verdict_of


class EncounterLookup:
    """Finds encounters at one endpoint. Without one the look-up is retried; after `wait_s` the operation is held."""

    def __init__(self, ports: DeliveryPorts, gate: EndpointGate, refusals: TokenRefusals, wait_s: float) -> None:
        self._ports = ports
        self._gate = gate
        self._refusals = refusals
        self._wait_s = wait_s
        self._absences = EncounterAbsences()

    async def reference(self, operation: Operation, context: AttemptContext) -> str | AttemptResult:
        """`Encounter/…` at the time of the result, or why there is none."""
        async with self._gate.slots:
            closed = self._gate.closed()
            if closed is not None:
                return AttemptResult(verdict_of(State.DEFERRED, closed))
            intent = operation.intent
            at = intent.source.last_time or intent.occurred_at - MICROSECOND  # the end of a window is exclusive
            reference, response = await self._ports.ehr.active_encounter(intent.subject_id, at)
        if reference is not None:
            self._absences.end(operation.operation_id)
            return reference
        if response is not None and not is_complete(response):
            return self._unanswered(operation, context, response)
        return self._absent(operation, response)

    def _unanswered(self, operation: Operation, context: AttemptContext, response: EhrResponse) -> AttemptResult:
        self._absences.end(operation.operation_id)
        self._refusals.note(operation.operation_id, response)
        verdict = judge_response(context._replace(action="search"), "Encounter", response, self._ports.clock())
        if verdict.state is State.SUCCEEDED:  # a page of the search is missing, which is no absence
            verdict = verdict_of(State.DEFERRED, "no_answer")
        return AttemptResult(verdict, response.status, None, response.body or None)

    def _absent(self, operation: Operation, response: EhrResponse | None) -> AttemptResult:
        now = operation.claimed_at or self._ports.clock()
        if self._absences.waited_s(operation.operation_id, now) > self._wait_s:
            self._absences.end(operation.operation_id)
            return AttemptResult(verdict_of(State.HELD, "no_encounter", "no_encounter_held"))
        return AttemptResult(verdict_of(State.DEFERRED, "no_encounter"), response.status if response else None)
