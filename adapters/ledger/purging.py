"""Forgetting what is old enough, a little at a time: first the evidence of each attempt, later the operation itself."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, delete, exists, select

from adapters.ledger import tallies
from adapters.ledger.lanes import lock
from adapters.ledger.tables import attempts, lanes, operations
from schemas.operation import TERMINAL

BATCH = 500


class Keep(NamedTuple):
    """Until when (microseconds since the epoch) what was settled or tried is forgotten."""

    operations_before_us: int
    evidence_before_us: int


def purge(db: Connection, keep: Keep) -> int:
    """Remove at most a batch of each; the number removed of that of which there may be more."""
    return max(_evidence(db, keep.evidence_before_us), _operations(db, keep.operations_before_us))


def _evidence(db: Connection, before_us: int) -> int:
    ended = exists().where(operations.c.operation_id == attempts.c.operation_id, operations.c.state.in_(TERMINAL))
    old = select(attempts.c.id).where(attempts.c.at_us < before_us, ended).order_by(attempts.c.at_us).limit(BATCH)
    ids = db.execute(old).scalars().all()
    db.execute(delete(attempts).where(attempts.c.id.in_(ids)))
    return len(ids)


def _operations(db: Connection, before_us: int) -> int:
    """With the lanes of patients of whom nothing is left."""
    old = select(operations.c.operation_id, operations.c.lane).where(
        operations.c.settled_us < before_us, operations.c.state.in_(TERMINAL)
    )
    found = db.execute(old.order_by(operations.c.settled_us).limit(BATCH)).all()
    ids, touched = [row.operation_id for row in found], {row.lane for row in found}
    lock(db, touched)
    gone = delete(operations).where(operations.c.operation_id.in_(ids))
    tallies.note(db, [(row[0], row[1], None) for row in db.execute(gone.returning(*_OF))])
    db.execute(delete(attempts).where(attempts.c.operation_id.in_(ids)))
    left = exists().where(operations.c.lane == lanes.c.lane)
    db.execute(delete(lanes).where(lanes.c.lane.in_(touched), lanes.c.head.is_(None), ~left))
    return len(ids)


_OF = operations.c.endpoint, operations.c.state
