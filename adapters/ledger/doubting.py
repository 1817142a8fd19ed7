"""A ledger that lost commits: its open operations may be charted, and operations that it lost may have been sent.

One transaction, so that after a crash the ledger is either unchanged, to be taken over again, or completely in doubt.
"""

from __future__ import annotations

from sqlalchemy import Connection, Integer, exists, insert, literal, select, text, true, update

from adapters.ledger import tallies
from adapters.ledger.tables import attempts, operations, ordering_keys
from schemas.operation import TERMINAL, State

CODE = "ledger_went_back"
_MESSAGE = "the ledger lost what came after; the chart is searched before anything is sent"
_OPEN = operations.c.state.not_in(TERMINAL)


def put_in_doubt(db: Connection, now_us: int, quiet_until_us: int) -> None:
    """Every operation that is not terminal becomes unknown, stays in doubt, and waits until no worker can be sending it."""
    if db.dialect.name == "postgresql":
        db.execute(text("SET LOCAL statement_timeout = 0"))
        db.execute(text("LOCK TABLE ordering_keys, operations IN EXCLUSIVE MODE"))
    open_now = db.execute(select(operations.c.endpoint, operations.c.purpose, operations.c.state).where(_OPEN)).all()
    tallies.note(db, [tallies.Change(row.endpoint, row.purpose, row.state, State.UNKNOWN) for row in open_now])
    was = select(
        operations.c.operation_id,
        operations.c.attempts,
        operations.c.fence,
        literal(now_us, operations.c.created_us.type),
        operations.c.state,
        literal(CODE),
    ).where(_OPEN)
    db.execute(insert(attempts).from_select(["operation_id", "attempt", "fence", "at_us", "state", "code"], was))
    db.execute(
        update(operations)
        .where(_OPEN)
        .values(
            state=State.UNKNOWN,
            in_doubt=true(),
            fence=operations.c.fence + literal(1, Integer),
            due_us=quiet_until_us,
            http_status=None,
            code=CODE,
            message=_MESSAGE,
        )
    )
    _find_heads(db)


def _find_heads(db: Connection) -> None:
    mine = (operations.c.ordering_key == ordering_keys.c.ordering_key) & operations.c.due_us.is_not(None)
    first = select(operations.c.sequence).where(mine).order_by(operations.c.sequence).limit(1).scalar_subquery()
    due = select(operations.c.due_us).where(mine).order_by(operations.c.sequence).limit(1).scalar_subquery()
    db.execute(update(ordering_keys).where(exists().where(mine)).values(head=first, due_us=due))
