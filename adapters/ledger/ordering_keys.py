"""Ordering keys: one per patient and endpoint, locked before any decision about the patient's operations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from sqlalchemy import Connection, Table, select, update
from sqlalchemy.dialects import postgresql, sqlite

from adapters.ledger.tables import operations, ordering_keys

T = TypeVar("T")
_ROWS_A_STATEMENT = 1000


def upsert(db: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    """An INSERT with an ON CONFLICT clause."""
    return postgresql.insert(table) if db.dialect.name == "postgresql" else sqlite.insert(table)


def keys_and_attempts(db: Connection, wanted: Iterable[str]) -> dict[str, tuple[str, int]]:
    """operation_id → its ordering key and the number of the attempt."""
    known: dict[str, tuple[str, int]] = {}
    for part in parts(sorted(wanted)):
        rows = db.execute(
            select(operations.c.operation_id, operations.c.ordering_key, operations.c.attempts).where(
                operations.c.operation_id.in_(part)
            )
        )
        known |= {operation_id: (ordering_key, attempt) for operation_id, ordering_key, attempt in rows}
    return known


def lock(db: Connection, wanted: set[str]) -> None:
    """Lock ordering keys, always in the same order."""
    for part in parts(sorted(wanted)):
        db.execute(
            select(ordering_keys.c.ordering_key)
            .where(ordering_keys.c.ordering_key.in_(part))
            .order_by(ordering_keys.c.ordering_key)
            .with_for_update()
        ).all()


def find_heads(db: Connection, wanted: set[str]) -> None:
    """Point each (locked) key at its earliest open operation."""
    mine = (operations.c.ordering_key == ordering_keys.c.ordering_key) & operations.c.due_us.is_not(None)
    head = select(operations.c.sequence).where(mine).order_by(operations.c.sequence).limit(1).scalar_subquery()
    due = select(operations.c.due_us).where(mine).order_by(operations.c.sequence).limit(1).scalar_subquery()
    for part in parts(sorted(wanted)):
        db.execute(update(ordering_keys).where(ordering_keys.c.ordering_key.in_(part)).values(head=head, due_us=due))


def parts(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """The rows in parts that fit into one statement."""
    for start in range(0, len(rows), _ROWS_A_STATEMENT):
        yield rows[start : start + _ROWS_A_STATEMENT]
