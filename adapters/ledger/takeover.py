"""Checks at a worker's start whether the ledger has lost commits.

It has if it is in another database than before (a failover, a restored backup, a copy), or if Kafka has committed offsets
beyond the ledger's positions. All open operations are then in doubt, and windows whose intents may be lost are read again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from sqlalchemy import Connection, exists, select, update

from adapters.ledger import positions
from adapters.ledger.doubting import put_in_doubt
from adapters.ledger.identity import VERSION_BEFORE
from adapters.ledger.outbox import restart_chains
from adapters.ledger.positions import StoredPosition
from adapters.ledger.tables import ledger_identity, operations
from schemas.ports.kafka import GroupPosition


class Witness(NamedTuple):
    """Evidence from outside the ledger: the identity of its database, and the positions of the windows topic on Kafka.

    `known` are the stored identities that mean this very database. An earlier worker may be sending for another `quiet_s`.
    """

    identity: str
    known: Collection[str]
    topic: str
    reached: Mapping[int, GroupPosition]
    quiet_s: float


def take_over(db: Connection, now_us: int, witness: Witness) -> bool:
    """Compare the ledger with its witness and put it in doubt if they differ; true if they did."""
    before = db.execute(select(ledger_identity).with_for_update()).one()
    known = _of_this_topic(db, witness)
    stored: dict[str, object] = {"identity": witness.identity}
    went_back = _is_exchanged(before.identity, witness) or lost(known, witness.reached)
    if before.identity == VERSION_BEFORE or (not before.identity and _holds_operations(db)):
        adopted = {number: StoredPosition(reached.committed or 0, 0) for number, reached in witness.reached.items()}
        positions.write_positions(db, witness.topic, adopted)  # a ledger of a version that stored neither
        went_back = False
    elif went_back:
        quiet_until_us = now_us + round(witness.quiet_s * 1_000_000)
        positions.write_positions(db, witness.topic, doubted(known, witness.reached))
        put_in_doubt(db, now_us, quiet_until_us)
        restart_chains(db)
        stored |= {"incidents": before.incidents + 1, "quiet_until_us": quiet_until_us}
    db.execute(update(ledger_identity).values(**stored))
    return went_back


def _holds_operations(db: Connection) -> bool:
    return bool(db.execute(select(exists().select_from(operations))).scalar_one())


def lost(known: Mapping[int, StoredPosition], reached: Mapping[int, GroupPosition]) -> bool:
    """Whether an offset was committed whose intents this ledger lacks, and does not know to be missing."""
    return any(
        at.committed is not None and at.committed > max(known.get(number, StoredPosition(0, 0)))
        for number, at in reached.items()
    )


def doubted(known: Mapping[int, StoredPosition], reached: Mapping[int, GroupPosition]) -> dict[int, StoredPosition]:
    """Positions after the ledger lost commits: everything in the topic may have been recorded and sent."""
    none = StoredPosition(0, 0)
    return {number: StoredPosition(known.get(number, none).next_offset, at.end) for number, at in reached.items()}


def _is_exchanged(identity: str, witness: Witness) -> bool:
    return bool(identity) and identity not in witness.known


def _of_this_topic(db: Connection, witness: Witness) -> dict[int, StoredPosition]:
    known = positions.read_positions(db, witness.topic)
    for number, at in witness.reached.items():
        if number in known and known[number].next_offset > at.end:
            positions.forget(db, witness.topic, number)
            del known[number]
    return known
