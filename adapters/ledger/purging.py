"""Deletes expired rows in small batches: the evidence of attempts first, the operations later."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, exists, or_, select

from adapters.ledger import tallies
from adapters.ledger.ordering_keys import lock
from adapters.ledger.tables import attempts, operations, ordering_keys
from schemas.operation import TERMINAL

BATCH = 500


class Keep(NamedTuple):
    """Operations settled, and attempts made, before these instants (microseconds since the epoch) are deleted."""

    operations_before_us: int
    evidence_before_us: int


def purge(db: Connection, keep: Keep) -> int:
    """Delete at most a batch of each kind; returns the larger number, which is a whole batch if there may be more."""
    return max(_evidence(db, keep.evidence_before_us), _operations(db, keep.operations_before_us))


def _evidence(db: Connection, before_us: int) -> int:
    ended = exists().where(operations.c.operation_id == attempts.c.operation_id, operations.c.state.in_(TERMINAL))
    old = select(attempts.c.id).where(attempts.c.at_us < before_us, ended).order_by(attempts.c.at_us).limit(BATCH)
    ids = db.execute(old).scalars().all()
    db.execute(delete(attempts).where(attempts.c.id.in_(ids)))
    return len(ids)


def _operations(db: Connection, before_us: int) -> int:
    """Delete whole events, and the ordering keys of patients without operations.

    A charted result is kept while a later result of its event is open: otherwise that one would be written a second time.
    """
    old = operations.c.settled_us < before_us, operations.c.state.in_(TERMINAL), ~_has_younger(before_us)
    found = db.execute(select(operations.c.event_key).where(*old).order_by(operations.c.settled_us).limit(BATCH)).all()
    of_these = operations.c.event_key.in_({row.event_key for row in found})
    touched = set(db.execute(select(operations.c.ordering_key).where(of_these).distinct()).scalars())
    lock(db, touched)
    # Only under the lock is it sure that no later result has come.
    gone = db.execute(delete(operations).where(of_these, ~_has_younger(before_us)).returning(*_OF)).all()
    tallies.note(db, [tallies.Change(row.endpoint, row.purpose, row.state, None) for row in gone])
    db.execute(delete(attempts).where(attempts.c.operation_id.in_([row.operation_id for row in gone])))
    left = exists().where(operations.c.ordering_key == ordering_keys.c.ordering_key)
    db.execute(
        delete(ordering_keys).where(ordering_keys.c.ordering_key.in_(touched), ordering_keys.c.head.is_(None), ~left)
    )
    return len(found)


def _has_younger(before_us: int) -> ColumnElement[bool]:
    """Whether anything of an operation's event, itself included, is open or held, or was settled since."""
    other = operations.alias()
    young = or_(other.c.settled_us.is_(None), other.c.settled_us >= before_us, other.c.state.not_in(TERMINAL))
    return exists().where(other.c.event_key == operations.c.event_key, young)


_OF = operations.c.operation_id, operations.c.endpoint, operations.c.purpose, operations.c.state
