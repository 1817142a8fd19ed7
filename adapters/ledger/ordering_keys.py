"""Lanes: one a patient and endpoint, locked before anything is concluded from the patient's operations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from sqlalchemy import Connection, Table, select, update
from sqlalchemy.dialects import postgresql, sqlite

from adapters.ledger.tables import lanes, operations

T = TypeVar("T")
_ROWS_A_STATEMENT = 1000


def upsert(db: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An INSERT that can say what to do where the row is there already."""
    return postgresql.insert(table) if db.dialect.name == "postgresql" else sqlite.insert(table)


def attempted(db: Connection, wanted: Iterable[str]) -> dict[str, tuple[str, int]]:
    """operation_id → its lane and the number of the attempt."""
    known: dict[str, tuple[str, int]] = {}
    for part in parts(sorted(wanted)):
        rows = db.execute(
            select(operations.c.operation_id, operations.c.lane, operations.c.attempts).where(
                operations.c.operation_id.in_(part)
            )
        )
        known |= {operation_id: (lane, attempt) for operation_id, lane, attempt in rows}
    return known


def lock(db: Connection, wanted: set[str]) -> None:
    """Lock lanes, always in the same order."""
    for part in parts(sorted(wanted)):
        db.execute(select(lanes.c.lane).where(lanes.c.lane.in_(part)).order_by(lanes.c.lane).with_for_update()).all()


def find_heads(db: Connection, wanted: set[str]) -> None:
    """Point each (locked) lane at its earliest open operation."""
    mine = (operations.c.lane == lanes.c.lane) & operations.c.due_us.is_not(None)
    head = select(operations.c.sequence).where(mine).order_by(operations.c.sequence).limit(1).scalar_subquery()
    due = select(operations.c.due_us).where(mine).order_by(operations.c.sequence).limit(1).scalar_subquery()
    for part in parts(sorted(wanted)):
        db.execute(update(lanes).where(lanes.c.lane.in_(part)).values(head=head, due_us=due))


def parts(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """As many rows at a time as one statement takes."""
    for start in range(0, len(rows), _ROWS_A_STATEMENT):
        yield rows[start : start + _ROWS_A_STATEMENT]
