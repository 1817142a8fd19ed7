"""What an attempt writes: a new resource, or the next version of the resource of an earlier result."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from mappings.result_kind import AnyResultKind
from schemas.capabilities import ResourceCapabilities
from schemas.ehr import ResourceVersion
from schemas.operation import TERMINAL, Operation, State
from schemas.ports.ledger import Ledger
from streams.delivery.verdict import Action, Verdict, verdict_of

LONGEST_CHAIN = 100


class _ForgottenError(Exception):
    """The ledger lacks an earlier write of the event, so it is unknown whether that is in the chart."""


class WritePlan(NamedTuple):
    """What to send, and for an update the resource that it replaces."""

    action: Action
    resource: dict[str, Any]
    target: ResourceVersion | None


async def plan_write(
    operation: Operation, kind: AnyResultKind, capabilities: ResourceCapabilities, ledger: Ledger
) -> WritePlan | Verdict:
    """Create, or update the earlier result of this source event if it is in the chart."""
    resource = operation.intent.payload
    if operation.amends is None:
        return _create(dict(resource), capabilities)
    try:
        earlier = await _earlier_in_chart(operation.amends, ledger)
    except _ForgottenError:
        return verdict_of(State.HELD, "amends_forgotten")
    if earlier is None:
        return _create(kind.as_original(resource), capabilities)
    held = _why_held(operation, earlier, capabilities)
    if held is not None:
        return verdict_of(State.HELD, held)
    return WritePlan("update", kind.as_amendment(resource), ResourceVersion(earlier.resource_id, earlier.version))


def _create(resource: dict[str, Any], capabilities: ResourceCapabilities) -> WritePlan | Verdict:
    if not capabilities.create:
        return verdict_of(State.HELD, "create_unsupported")
    return WritePlan("create", resource, None)


def _why_held(operation: Operation, earlier: Operation, capabilities: ResourceCapabilities) -> str | None:
    if earlier.state not in TERMINAL:
        return "amends_unsettled"
    if not capabilities.amend:
        return "amend_unsupported"
    if earlier.resource_id is None:
        return "amends_unsettled"
    # An update would move it from one person's chart to another's.
    return "subject_changed" if earlier.intent.subject_id != operation.intent.subject_id else None


async def _earlier_in_chart(operation_id: str, ledger: Ledger) -> Operation | None:
    """The latest earlier write that is in the chart or may still reach it, or None."""
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
