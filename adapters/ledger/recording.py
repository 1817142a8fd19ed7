"""Recording: each intent once, and the operation that it amends."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, select

from adapters.ledger import tallies
from adapters.ledger.ordering_keys import find_heads, parts, upsert
from adapters.ledger.positions import advance
from adapters.ledger.rows import KeyedIntent, keyed, operation_row
from adapters.ledger.sealing import Seal
from adapters.ledger.tables import operations, ordering_keys
from schemas.operation import Intent, State
from schemas.ports.kafka import Position
from schemas.ports.ledger import Recorded


def record(
    db: Connection, seal: Seal, now_us: int, intents: Sequence[Intent], position: Position | None
) -> list[Recorded]:
    """Insert each intent once, and where they came from. An intent of a known source event with new content amends it."""
    quiet_until_us = None if position is None else advance(db, position)
    doubt = {} if quiet_until_us is None else _doubt(max(now_us, quiet_until_us))
    entries = [keyed(intent, seal) for intent in intents]
    _lock_ordering_keys(db, entries)
    recorded, fresh = _duplicates_and_new(entries, *_known(db, entries))
    if fresh:
        rows = [operation_row(e, amends, now_us, seal) | doubt for e, amends in fresh]
        db.execute(upsert(db, operations).on_conflict_do_nothing(), rows)
        tallies.note(db, [tallies.Change(row["endpoint"], row["purpose"], None, row["state"]) for row in rows])
    find_heads(db, {e.ordering_key for e, _ in fresh})
    return recorded


def _doubt(due_us: int) -> dict[str, object]:
    """The lost ledger may have recorded and sent it: the chart is searched first."""
    return {"state": State.UNKNOWN, "in_doubt": True, "due_us": due_us}


def _lock_ordering_keys(db: Connection, entries: Sequence[KeyedIntent]) -> None:
    fresh = upsert(db, ordering_keys)
    # The update changes nothing: it is what locks a key that is already there.
    locked = fresh.on_conflict_do_update(
        index_elements=[ordering_keys.c.ordering_key], set_={"endpoint": fresh.excluded.endpoint}
    )
    touched = {e.ordering_key: e.intent.endpoint for e in entries}
    for part in parts(sorted(touched.items())):
        db.execute(locked, [{"ordering_key": ordering_key, "endpoint": endpoint} for ordering_key, endpoint in part])


def _known(db: Connection, entries: Sequence[KeyedIntent]) -> tuple[dict[str, Recorded], dict[str, str]]:
    """The stored operations of these source events, by operation_id, and the latest operation_id of each event."""
    columns = operations.c.operation_id, operations.c.event_key, operations.c.state, operations.c.amends
    by_id: dict[str, Recorded] = {}
    latest: dict[str, str] = {}
    for part in parts(sorted({e.event_key for e in entries})):
        wanted = select(*columns).where(operations.c.event_key.in_(part)).order_by(operations.c.sequence)
        for operation_id, event_key, state, amends in db.execute(wanted):
            by_id[operation_id] = Recorded(operation_id, State(state), True, amends)
            latest[event_key] = operation_id
    return by_id, latest


def _duplicates_and_new(
    entries: Sequence[KeyedIntent], known: dict[str, Recorded], latest: dict[str, str]
) -> tuple[list[Recorded], list[tuple[KeyedIntent, str | None]]]:
    """Results in the order given, and the new ones with the operation that each amends. A key given twice is new once."""
    recorded: list[Recorded] = []
    fresh: list[tuple[KeyedIntent, str | None]] = []
    for one in entries:
        if one.operation_id in known:
            recorded.append(known[one.operation_id])
            continue
        amends = latest.get(one.event_key)
        fresh.append((one, amends))
        recorded.append(Recorded(one.operation_id, State.PENDING, False, amends))
        known[one.operation_id] = Recorded(one.operation_id, State.PENDING, True, amends)
        latest[one.event_key] = one.operation_id
    return recorded, fresh
