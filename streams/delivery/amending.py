"""What an attempt is to write: a new Observation, or the next version of the one that an earlier result stands in."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from schemas.capabilities import ResourceCapabilities
from schemas.ehr import ResourceVersion
from schemas.operation import TERMINAL, Operation, State
from schemas.ports.ledger import Ledger
from streams.delivery.verdict import Action, Verdict, verdict_of

LONGEST_CHAIN = 100


class _ForgottenError(Exception):
    """The ledger does not hold an earlier write of the event: whether it is in the chart, nobody knows."""


class Plan(NamedTuple):
    """What to send; of an update, which resource it replaces."""

    action: Action
    resource: dict[str, Any]
    target: ResourceVersion | None


async def plan(operation: Operation, capabilities: ResourceCapabilities, ledger: Ledger) -> Plan | Verdict:
    """Create; or, where an earlier result of this source event stands in the chart, update that one."""
    resource = dict(operation.intent.payload)
    if operation.amends is None:
        return Plan("create", resource, None)
    try:
        earlier = await _standing(operation.amends, ledger)
    except _ForgottenError:
        return verdict_of(State.HELD, "amends_forgotten")
    if earlier is None:
        return Plan("create", resource | {"status": "final"}, None)
    held = _why_held(operation, earlier, capabilities)
    if held is not None:
        return verdict_of(State.HELD, held)
    return Plan("update", resource | {"status": "amended"}, ResourceVersion(earlier.resource_id, earlier.version))


def _why_held(operation: Operation, earlier: Operation, capabilities: ResourceCapabilities) -> str | None:
    if earlier.state not in TERMINAL:
        return "amends_unsettled"
    if not capabilities.amend:
        return "amend_unsupported"
    if earlier.resource_id is None:
        return "amends_unsettled"
    # An update would move it from one person's chart to another's.
    return "subject_changed" if earlier.intent.subject_id != operation.intent.subject_id else None


async def _standing(operation_id: str, ledger: Ledger) -> Operation | None:
    """The nearest earlier write that is in the chart, or may come to be; None where none is."""
    before: str | None = operation_id
    earlier: Operation | None = None
    for _step in range(LONGEST_CHAIN):
        if before is None:
            return None
        earlier = await asyncio.to_thread(ledger.operation, before)
        if earlier is None:
            raise _ForgottenError
        if earlier.state not in TERMINAL or earlier.state is State.SUCCEEDED:
            return earlier
        before = earlier.amends
    return earlier
