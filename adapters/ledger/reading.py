"""Reading operations and the evidence of their attempts."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import Connection, select

from adapters.ledger.ordering_keys import parts
from adapters.ledger.rows import Attempt, attempt_of, operation
from adapters.ledger.sealing import Seal
from adapters.ledger.settling import STALE
from adapters.ledger.tables import attempts, operations
from schemas.operation import Operation, State


class Filter(NamedTuple):
    """Conditions on operations: endpoint, state, code, stale attempt. An operation must match every condition that is set."""

    endpoint: str | None
    state: State | None
    code: str | None
    stale: bool


def read_operation(db: Connection, seal: Seal, operation_id: str) -> Operation | None:
    """One operation, or None."""
    return read_operations(db, seal, [operation_id]).get(operation_id)


def read_operations(db: Connection, seal: Seal, operation_ids: Collection[str]) -> dict[str, Operation]:
    """operation_id → operation, of those that the ledger holds."""
    found: dict[str, Operation] = {}
    for part in parts(sorted(operation_ids)):
        rows = db.execute(select(operations).where(operations.c.operation_id.in_(part)))
        found |= {row.operation_id: operation(row, seal) for row in rows}
    return found


def find_operations(db: Connection, seal: Seal, by: Filter, limit: int) -> list[Operation]:
    """The earliest operations that pass the filter."""
    columns = (operations.c.endpoint, by.endpoint), (operations.c.state, by.state), (operations.c.code, by.code)
    wanted = select(operations).where(*(column == value for column, value in columns if value is not None))
    if by.stale:
        late = select(attempts.c.operation_id).where(attempts.c.code == STALE)
        wanted = wanted.where(operations.c.operation_id.in_(late))
    return [operation(row, seal) for row in db.execute(wanted.order_by(operations.c.sequence).limit(limit))]


def read_attempts(db: Connection, seal: Seal, operation_id: str) -> list[Attempt]:
    """Every attempt of one operation, in order."""
    wanted = select(attempts).where(attempts.c.operation_id == operation_id).order_by(attempts.c.id)
    return [attempt_of(row, seal) for row in db.execute(wanted)]


def read_window_ids(db: Connection, after: int, limit: int) -> list[tuple[int, list[str]]]:
    """(sequence, window ids) of the intents of windows, in order of sequence, after the given one."""
    wanted = select(operations.c.sequence, operations.c.source_part_ids).where(
        operations.c.source_kind == "window", operations.c.sequence > after
    )
    rows = db.execute(wanted.order_by(operations.c.sequence).limit(limit))
    return [(row.sequence, row.source_part_ids.split()) for row in rows]
