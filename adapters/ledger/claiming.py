"""Claiming: the earliest open operation of each patient who is due, under a fence of its own, until the lease ends."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, case, or_, select, update

from adapters.ledger import tallies
from adapters.ledger.ordering_keys import parts
from adapters.ledger.outbox import write
from adapters.ledger.rows import UNREADABLE, UNREADABLE_MESSAGE, operation
from adapters.ledger.sealing import Seal
from adapters.ledger.settling import settle
from adapters.ledger.tables import lanes, operations
from schemas.audit import Step
from schemas.instants import from_epoch_us
from schemas.operation import Operation, Outcome, State
from schemas.ports.ledger import Beside

_STARTED = (State.PENDING, State.DEFERRED)


def claim(db: Connection, seal: Seal, now_us: int, endpoint: str, limit: int, lease_s: float) -> list[Operation]:
    """Take work. Whoever held an operation before can settle it no more: its fence has passed."""
    lease_us = now_us + round(lease_s * 1_000_000)
    due = (
        select(lanes.c.lane, lanes.c.head)
        .where(lanes.c.endpoint == endpoint, lanes.c.due_us <= now_us)
        .order_by(lanes.c.due_us)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    claimed: list[Operation] = []
    for part in parts(db.execute(due).all()):
        heads = [head for _, head in part]
        before = select(operations.c.state).where(operations.c.sequence.in_(heads))
        started = [state for (state,) in db.execute(before)]
        taken = db.execute(_take(heads, lease_us)).all()
        tallies.note(db, [(endpoint, state, _claimed_state(state)) for state in started])
        claimed += [operation(row, seal).model_copy(update={"claimed_at": from_epoch_us(now_us)}) for row in taken]
        db.execute(update(lanes).where(lanes.c.lane.in_([lane for lane, _ in part])).values(due_us=lease_us))
    claimed = _without_unreadable(db, seal, now_us, claimed)
    return sorted(claimed, key=lambda taken: taken.sequence)


def _without_unreadable(db: Connection, seal: Seal, now_us: int, claimed: Sequence[Operation]) -> list[Operation]:
    """What cannot be read is held here and now, and is given as held; everything else goes on."""
    held = {
        one.operation_id: Outcome(state=State.HELD, fence=one.fence, code=UNREADABLE, message=UNREADABLE_MESSAGE)
        for one in claimed
        if one.code == UNREADABLE and one.intent.scope == UNREADABLE
    }
    settle(db, seal, now_us, held)
    steps = [
        Step(one.intent.tenant_id, "operation.held", "failure", one.operation_id, one.intent.endpoint, None, UNREADABLE)
        for one in claimed
        if one.operation_id in held
    ]
    if steps:
        write(db, seal, now_us, [Beside("delivery", steps)])
    return [one.model_copy(update={"state": State.HELD}) if one.operation_id in held else one for one in claimed]


def _claimed_state(state: str) -> State:
    return State.IN_PROGRESS if state in _STARTED else State.UNKNOWN


def _take(heads: Sequence[int], lease_us: int):  # type: ignore[no-untyped-def]
    """An operation in progress whose lease ran out may have been written: it comes back as unknown, and in doubt for good."""
    started = operations.c.state.in_(_STARTED)
    return (
        update(operations)
        .where(operations.c.sequence.in_(heads))
        .values(
            state=case((started, State.IN_PROGRESS), else_=State.UNKNOWN),
            attempts=operations.c.attempts + 1,
            fence=operations.c.fence + 1,
            in_doubt=or_(operations.c.in_doubt, ~started),
            due_us=lease_us,
        )
        .returning(operations)
    )
