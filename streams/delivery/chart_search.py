"""The search of the chart for a write whose response was ambiguous, and what it settles."""

from __future__ import annotations

import asyncio

from schemas.ehr import EhrResponse, SearchMatches
from schemas.operation import Operation, State
from streams.delivery.amending import WritePlan
from streams.delivery.attempt_result import AttemptResult
from streams.delivery.ehr_response import is_complete
from streams.delivery.endpoint_gate import EndpointGate
from streams.delivery.in_doubt import InDoubtWrite
from streams.delivery.messages import MESSAGES
from streams.delivery.ports import DeliveryPorts
from streams.delivery.token_refusals import TokenRefusals
from streams.delivery.verdict import AttemptContext, Verdict, judge_response, judge_search


class ChartSearch:
    """Searches one endpoint, several times because indexes lag, until the result is found or certainly absent."""

    def __init__(
        self, ports: DeliveryPorts, gate: EndpointGate, refusals: TokenRefusals, delays_s: tuple[float, ...]
    ) -> None:
        self._ports = ports
        self._gate = gate
        self._refusals = refusals
        self._delays_s = delays_s

    async def settle(
        self, operation: Operation, planned: WritePlan, context: AttemptContext, write: InDoubtWrite
    ) -> AttemptResult:
        """The verdict on a write in doubt. It stays in doubt if the search fails."""
        kind = self._ports.result_kind(operation)
        parameters = kind.search_parameters(planned.resource, context.capabilities)
        matches = SearchMatches((), 0)
        response: EhrResponse | None = None
        for delay_s in self._delays_s:
            await asyncio.sleep(delay_s)
            async with self._gate.slots:
                candidates, response = await self._ports.ehr.search(kind.resource_type, parameters)
            if not is_complete(response):
                self._refusals.note(operation.operation_id, response)
                return self._still_unknown(context, write.cause, response)
            matches = kind.same_as(planned.resource, candidates)
            if matches.same:
                break
        verdict = judge_search(context, write.cause, matches)
        write.resolve_by_search()
        return AttemptResult(verdict, response.status if response else None, None, response.body if response else None)

    def _still_unknown(self, context: AttemptContext, cause: str | None, response: EhrResponse) -> AttemptResult:
        """The search failed: the write stays in doubt with its cause, and is held if searching needs a correction first."""
        search = judge_response(context._replace(action="search"), "Bundle", response, self._ports.clock())
        if search.state is State.HELD:
            return AttemptResult(search, response.status, None, response.body or None)
        verdict = Verdict(
            State.UNKNOWN, cause, MESSAGES["no_answer"], search.retry_after_s, whole_endpoint=search.whole_endpoint
        )
        return AttemptResult(verdict, response.status, None, response.body or None)
