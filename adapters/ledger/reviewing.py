"""Charted operations by device or patient, and the reference data that they were compared with."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, Select, select

from adapters.ledger.ordering_keys import parts, upsert
from adapters.ledger.rows import operation
from adapters.ledger.sealing import Seal
from adapters.ledger.tables import operations, reviewed
from schemas.instants import epoch_us
from schemas.operation import Operation, State


class ChartedQuery(NamedTuple):
    """Charted operations by device or patient (keyed hashes), by span, after a sequence."""

    device: str | None
    patient: str | None
    first: datetime | None
    last: datetime | None
    after: int
    limit: int


def list_charted(db: Connection, seal: Seal, query: ChartedQuery) -> list[Operation]:
    """Succeeded operations, in order of their sequence; those whose span is not known are left out when a span is query."""
    wanted: Select[tuple[object, ...]] = select(operations).where(
        operations.c.state == State.SUCCEEDED, operations.c.sequence > query.after
    )
    if query.device is not None:
        wanted = wanted.where(operations.c.device == query.device)
    if query.patient is not None:
        wanted = wanted.where(operations.c.ordering_key == query.patient)
    if query.first is not None:
        wanted = wanted.where(operations.c.last_us >= epoch_us(query.first))
    if query.last is not None:
        wanted = wanted.where(operations.c.first_us <= epoch_us(query.last))
    rows = db.execute(wanted.order_by(operations.c.sequence).limit(query.limit))
    return [operation(row, seal) for row in rows]


def read_fingerprints(db: Connection, kind: str) -> dict[str, str]:
    """name → the fingerprint of the record when it was reviewed."""
    rows = db.execute(select(reviewed.c.name, reviewed.c.fingerprint).where(reviewed.c.kind == kind))
    return {name: fingerprint for name, fingerprint in rows}  # noqa: C416 (rows are not pairs to a type checker)


def mark_once(db: Connection, kind: str, fingerprints: Mapping[str, str]) -> list[str]:
    """Store names that are not known yet; returns those. Of concurrent writers one gets each name."""
    fresh: list[str] = []
    for part in parts(sorted(fingerprints.items())):
        rows = [{"kind": kind, "name": name, "fingerprint": print_} for name, print_ in part]
        write = upsert(db, reviewed).values(rows).on_conflict_do_nothing().returning(reviewed.c.name)
        fresh += db.execute(write).scalars()
    return fresh


def mark(db: Connection, kind: str, fingerprints: Mapping[str, str | None]) -> None:
    """Store fingerprints; None removes the name."""
    fresh = upsert(db, reviewed)
    write = fresh.on_conflict_do_update(
        index_elements=[reviewed.c.kind, reviewed.c.name], set_={"fingerprint": fresh.excluded.fingerprint}
    )
    for part in parts(sorted(fingerprints.items())):
        kept = [{"kind": kind, "name": name, "fingerprint": print_} for name, print_ in part if print_ is not None]
        gone = [name for name, print_ in part if print_ is None]
        if kept:
            db.execute(write, kept)
        if gone:
            db.execute(reviewed.delete().where(reviewed.c.kind == kind, reviewed.c.name.in_(gone)))
