"""What was charted, by device or patient, and what of the reference data it was compared with."""

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
    """Which of the charted: by named device or patient, by span, after a sequence."""

    device: str | None
    patient: str | None
    first: datetime | None
    last: datetime | None
    after: int
    limit: int


def charted(db: Connection, seal: Seal, asked: ChartedQuery) -> list[Operation]:
    """Succeeded operations, in order of their sequence; those whose span is not known are left out when a span is asked."""
    wanted: Select[tuple[object, ...]] = select(operations).where(
        operations.c.state == State.SUCCEEDED, operations.c.sequence > asked.after
    )
    if asked.device is not None:
        wanted = wanted.where(operations.c.device == asked.device)
    if asked.patient is not None:
        wanted = wanted.where(operations.c.lane == asked.patient)
    if asked.first is not None:
        wanted = wanted.where(operations.c.last_us >= epoch_us(asked.first))
    if asked.last is not None:
        wanted = wanted.where(operations.c.first_us <= epoch_us(asked.last))
    rows = db.execute(wanted.order_by(operations.c.sequence).limit(asked.limit))
    return [operation(row, seal) for row in rows]


def fingerprints(db: Connection, kind: str) -> dict[str, str]:
    """name → what it looked like when it was reviewed."""
    rows = db.execute(select(reviewed.c.name, reviewed.c.fingerprint).where(reviewed.c.kind == kind))
    return {name: fingerprint for name, fingerprint in rows}  # noqa: C416 (rows are not pairs to a type checker)


def mark_once(db: Connection, kind: str, looked: Mapping[str, str]) -> list[str]:
    """Remember names that are not known yet; gives those. Of writers at once, one is given each."""
    fresh: list[str] = []
    for part in parts(sorted(looked.items())):
        rows = [{"kind": kind, "name": name, "fingerprint": print_} for name, print_ in part]
        write = upsert(db, reviewed).values(rows).on_conflict_do_nothing().returning(reviewed.c.name)
        fresh += db.execute(write).scalars()
    return fresh


def mark(db: Connection, kind: str, looked: Mapping[str, str | None]) -> None:
    """Remember fingerprints; None forgets the name."""
    fresh = upsert(db, reviewed)
    write = fresh.on_conflict_do_update(
        index_elements=[reviewed.c.kind, reviewed.c.name], set_={"fingerprint": fresh.excluded.fingerprint}
    )
    for part in parts(sorted(looked.items())):
        kept = [{"kind": kind, "name": name, "fingerprint": print_} for name, print_ in part if print_ is not None]
        gone = [name for name, print_ in part if print_ is None]
        if kept:
            db.execute(write, kept)
        if gone:
            db.execute(reviewed.delete().where(reviewed.c.kind == kind, reviewed.c.name.in_(gone)))
