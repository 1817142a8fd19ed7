"""How far the intents of each partition are durable in this ledger, written with the intents in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import Connection, delete, select, update

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


def count_removed(db: Connection, position: Position, since: int) -> int | None:
    """Move to the position and count what lies before it as removed, from the stored place on, else from `since`.

    Gives the first offset that was counted; None where another has counted all of it.
    """
    here = positions.c.topic == position.topic, positions.c.partition == position.partition
    begun = {"topic": position.topic, "partition": position.partition, "next_offset": since, "in_doubt_before": 0}
    db.execute(upsert(db, positions).on_conflict_do_nothing(), begun)
    first = int(db.execute(select(positions.c.next_offset).where(*here).with_for_update()).scalar_one())
    if first >= position.next_offset:
        return None
    total = positions.c.removed_unread + (position.next_offset - first)
    db.execute(update(positions).where(*here).values(next_offset=position.next_offset, removed_unread=total))
    return first


def removed_unread(db: Connection, topic: str) -> dict[int, int]:
    """partition → how many records were counted as removed."""
    wanted = select(positions.c.partition, positions.c.removed_unread).where(positions.c.topic == topic)
    return {row.partition: row.removed_unread for row in db.execute(wanted)}


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
