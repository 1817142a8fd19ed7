"""How far the intents of each partition are durable in this ledger, written with the intents in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import Connection, delete, select

from adapters.ledger.ordering_keys import upsert
from adapters.ledger.tables import ledger_identity, positions
from schemas.ports.kafka import Position


class Place(NamedTuple):
    """A partition: from where on it must be read, and up to where its results may have been sent before."""

    next_offset: int
    in_doubt_before: int


def places(db: Connection, topic: str) -> dict[int, Place]:
    """partition → its place."""
    wanted = select(positions).where(positions.c.topic == topic)
    return {row.partition: Place(row.next_offset, row.in_doubt_before) for row in db.execute(wanted)}


def move(db: Connection, position: Position) -> int | None:
    """Store the position, never backwards. Gives until when the intents of this transaction must rest, if in doubt."""
    here = positions.c.topic == position.topic, positions.c.partition == position.partition
    before = db.execute(select(positions.c.next_offset, positions.c.in_doubt_before).where(*here)).one_or_none()
    if before is None or before.next_offset < position.next_offset:
        in_doubt_before = before.in_doubt_before if before else 0
        put(db, position.topic, {position.partition: Place(position.next_offset, in_doubt_before)})
    if before is None or before.next_offset >= before.in_doubt_before:
        return None
    return int(db.execute(select(ledger_identity.c.quiet_until_us)).scalar_one())


def put(db: Connection, topic: str, at: Mapping[int, Place]) -> None:
    """Store places as they are."""
    rows = [{"topic": topic, "partition": partition, **place._asdict()} for partition, place in sorted(at.items())]
    if not rows:
        return
    fresh = upsert(db, positions)
    stored = {"next_offset": fresh.excluded.next_offset, "in_doubt_before": fresh.excluded.in_doubt_before}
    db.execute(fresh.on_conflict_do_update(index_elements=["topic", "partition"], set_=stored), rows)


def forget(db: Connection, topic: str, partition: int) -> None:
    """The topic was made anew: its offsets mean other records."""
    db.execute(delete(positions).where(positions.c.topic == topic, positions.c.partition == partition))
