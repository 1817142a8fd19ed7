"""How far the intents of each partition are durable in this ledger; written with the intents in one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import Connection, delete, select, update

from adapters.ledger.ordering_keys import upsert
from adapters.ledger.tables import ledger_identity, positions
from schemas.ports.kafka import Position


class StoredPosition(NamedTuple):
    """Of a partition: the offset to consume from, and the offset before which its results may have been sent."""

    next_offset: int
    in_doubt_before: int


def read_positions(db: Connection, topic: str) -> dict[int, StoredPosition]:
    """partition → its stored position."""
    wanted = select(positions).where(positions.c.topic == topic)
    return {row.partition: StoredPosition(row.next_offset, row.in_doubt_before) for row in db.execute(wanted)}


def advance(db: Connection, position: Position) -> int | None:
    """Store the position, never backwards. Returns until when the intents of this transaction must wait, if in doubt."""
    here = positions.c.topic == position.topic, positions.c.partition == position.partition
    before = db.execute(select(positions.c.next_offset, positions.c.in_doubt_before).where(*here)).one_or_none()
    if before is None or before.next_offset < position.next_offset:
        in_doubt_before = before.in_doubt_before if before else 0
        write_positions(db, position.topic, {position.partition: StoredPosition(position.next_offset, in_doubt_before)})
    if before is None or before.next_offset >= before.in_doubt_before:
        return None
    return int(db.execute(select(ledger_identity.c.quiet_until_us)).scalar_one())


def count_removed(db: Connection, position: Position, since: int) -> int | None:
    """Advance to the position and count the records before it as removed, from the stored position, or else from `since`.

    Returns the first offset that was counted; None where another worker has counted all of them.
    """
    here = positions.c.topic == position.topic, positions.c.partition == position.partition
    row = {"topic": position.topic, "partition": position.partition, "next_offset": since, "in_doubt_before": 0}
    db.execute(upsert(db, positions).on_conflict_do_nothing(), row)
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


def write_positions(db: Connection, topic: str, at: Mapping[int, StoredPosition]) -> None:
    """Store positions as they are."""
    rows = [
        {"topic": topic, "partition": partition, **position._asdict()} for partition, position in sorted(at.items())
    ]
    if not rows:
        return
    fresh = upsert(db, positions)
    stored = {"next_offset": fresh.excluded.next_offset, "in_doubt_before": fresh.excluded.in_doubt_before}
    db.execute(fresh.on_conflict_do_update(index_elements=["topic", "partition"], set_=stored), rows)


def forget(db: Connection, topic: str, partition: int) -> None:
    """Remove the position of a topic that was recreated: its offsets mean other records."""
    db.execute(delete(positions).where(positions.c.topic == topic, positions.c.partition == partition))
