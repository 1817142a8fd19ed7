"""Claims the earliest due operation of each patient, with a fencing token and a lease."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, case, or_, select, update

from adapters.ledger import tallies
from adapters.ledger.ordering_keys import parts
from adapters.ledger.rows import UNREADABLE, UNREADABLE_MESSAGE, operation
from adapters.ledger.sealing import Seal
from adapters.ledger.settling import settle
from adapters.ledger.tables import operations, ordering_keys
from schemas.instants import from_epoch_us
from schemas.operation import Operation, Outcome, State

_STARTED = (State.PENDING, State.DEFERRED)


def claim(db: Connection, seal: Seal, now_us: int, endpoint: str, limit: int, lease_s: float) -> list[Operation]:
    """Claim operations. The fencing token of an earlier claim is then stale: its holder can no longer settle the operation."""
    lease_us = now_us + round(lease_s * 1_000_000)
    due = (
        select(ordering_keys.c.ordering_key, ordering_keys.c.head)
        .where(ordering_keys.c.endpoint == endpoint, ordering_keys.c.due_us <= now_us)
        .order_by(ordering_keys.c.due_us)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    claimed: list[Operation] = []
    for part in parts(db.execute(due).all()):
        heads = [head for _, head in part]
        before = select(operations.c.purpose, operations.c.state).where(operations.c.sequence.in_(heads))
        started = db.execute(before).all()
        taken = db.execute(_claim_heads(heads, lease_us)).all()
        tallies.note(
            db, [tallies.Change(endpoint, one.purpose, one.state, _claimed_state(one.state)) for one in started]
        )
        claimed += [operation(row, seal).model_copy(update={"claimed_at": from_epoch_us(now_us)}) for row in taken]
        db.execute(
            update(ordering_keys)
            .where(ordering_keys.c.ordering_key.in_([key for key, _ in part]))
            .values(due_us=lease_us)
        )
    return sorted(claimed, key=lambda taken: taken.sequence)


def hold_unreadable(db: Connection, seal: Seal, now_us: int, claimed: Sequence[Operation]) -> dict[str, Outcome]:
    """Hold unreadable operations, so that they block nothing else; returns operation_id → outcome."""
    held = {
        one.operation_id: Outcome(state=State.HELD, fence=one.fence, code=UNREADABLE, message=UNREADABLE_MESSAGE)
        for one in claimed
        if one.code == UNREADABLE and one.intent.scope == UNREADABLE
    }
    settle(db, seal, now_us, held)
    return held


def _claimed_state(state: str) -> State:
    return State.IN_PROGRESS if state in _STARTED else State.UNKNOWN


def _claim_heads(heads: Sequence[int], lease_us: int):  # type: ignore[no-untyped-def]
    """An operation whose lease expired may have been written: it is claimed as unknown, and stays in doubt."""
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
