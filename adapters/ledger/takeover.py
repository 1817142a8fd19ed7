"""Taking a ledger up at a worker's start: is it the one that was left, with all that was written to it?

It is not when it is in another database than it was (a failover, a restored backup, a copy), and not when Kafka holds
committed offsets that this ledger knows nothing of. Then all of it is in doubt, and what it may have lost is read again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from sqlalchemy import Connection, exists, select, update

from adapters.ledger import positions
from adapters.ledger.distrust import distrust
from adapters.ledger.identity import VERSION_BEFORE
from adapters.ledger.outbox import begin_chains_anew
from adapters.ledger.positions import Place
from adapters.ledger.tables import ledger_identity, operations
from schemas.ports.kafka import Reached


class Witness(NamedTuple):
    """What stands outside of the ledger at this moment: its database's identity, and the windows topic on Kafka.

    `known` are the stored identities that are this very database. A worker of before may be sending for `quiet_s`.
    """

    identity: str
    known: Collection[str]
    topic: str
    reached: Mapping[int, Reached]
    quiet_s: float


def take_up(db: Connection, now_us: int, witness: Witness) -> bool:
    """Compare the ledger with its witness, and put it in doubt where they differ; true if they did."""
    known = db.execute(select(ledger_identity).with_for_update()).one()
    places = _of_this_topic(db, witness)
    stored: dict[str, object] = {"identity": witness.identity}
    went_back = _is_exchanged(known.identity, witness) or lost(places, witness.reached)
    if known.identity == VERSION_BEFORE or (not known.identity and _holds_operations(db)):
        adopted = {number: Place(reached.committed or 0, 0) for number, reached in witness.reached.items()}
        positions.put(db, witness.topic, adopted)  # a ledger of the version before, which kept neither
        went_back = False
    elif went_back:
        quiet_until_us = now_us + round(witness.quiet_s * 1_000_000)
        positions.put(db, witness.topic, doubted(places, witness.reached))
        distrust(db, now_us, quiet_until_us)
        begin_chains_anew(db)
        stored |= {"incidents": known.incidents + 1, "quiet_until_us": quiet_until_us}
    db.execute(update(ledger_identity).values(**stored))
    return went_back


def _holds_operations(db: Connection) -> bool:
    return bool(db.execute(select(exists().select_from(operations))).scalar_one())


def lost(places: Mapping[int, Place], reached: Mapping[int, Reached]) -> bool:
    """Whether an offset was committed whose intents this ledger does not have, and does not know to be missing."""
    return any(
        at.committed is not None and at.committed > max(places.get(number, Place(0, 0)))
        for number, at in reached.items()
    )


def doubted(places: Mapping[int, Place], reached: Mapping[int, Reached]) -> dict[int, Place]:
    """The places when the ledger went back: all that the topic holds by now may have been recorded and sent."""
    return {number: Place(places.get(number, Place(0, 0)).next_offset, at.end) for number, at in reached.items()}


def _is_exchanged(identity: str, witness: Witness) -> bool:
    return bool(identity) and identity not in witness.known


def _of_this_topic(db: Connection, witness: Witness) -> dict[int, Place]:
    places = positions.places(db, witness.topic)
    for number, at in witness.reached.items():
        if number in places and places[number].next_offset > at.end:
            positions.forget(db, witness.topic, number)
            del places[number]
    return places
