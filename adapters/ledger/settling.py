"""Settling: the outcomes of claimed operations with their evidence, accepted only from the holder of the claim."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, case, func, insert, or_, select, update

from adapters.ledger import intent_form, tallies
from adapters.ledger.ordering_keys import find_heads, keys_and_attempts, lock, parts
from adapters.ledger.rows import attempt_row, intent_of, outcome_columns
from adapters.ledger.sealing import Seal
from adapters.ledger.tables import attempts, operations
from schemas.errors import RetryLater, Unsafe
from schemas.operation import ABSENT, TERMINAL, Intent, Operation, Outcome, State
from schemas.ports.ledger import OutboxEntries, SettlementSubscriber

STALE = "stale_claim"
UNSTORABLE = "unstorable_answer"
LONGEST_WAIT_S = 86_400.0
_UNSTORABLE_MESSAGE = "The EHR's answer holds something that cannot be kept. Look into the chart before releasing it."
_LEASED = (State.IN_PROGRESS, State.UNKNOWN)


class _Claim(NamedTuple):
    """An operation's latest claim, read under the lock of its ordering key."""

    ordering_key: str
    attempt: int
    fence: int
    answered: int
    state: str
    endpoint: str
    purpose: str

    def change(self, after: State) -> tallies.Change:
        return tallies.Change(self.endpoint, self.purpose, self.state, after)

    def is_held_by(self, fence: int) -> bool:
        return self.answered < fence == self.fence and self.state in _LEASED

    def is_repeat(self, fence: int) -> bool:
        """The outcome is already stored: its commit was not acknowledged, and the worker repeats it."""
        return 0 < fence == self.answered


class Settled(NamedTuple):
    """Which outcomes were written, and which had a stale fencing token; repeats are neither."""

    written: list[str]
    stale: list[str]


def settle(db: Connection, seal: Seal, now_us: int, outcomes: Mapping[str, Outcome]) -> Settled:
    """Write outcomes and evidence. An outcome with a stale fencing token is stored as evidence only."""
    claims = _claims(db, outcomes)
    first = {key: outcomes[key] for key in claims if not claims[key].is_repeat(outcomes[key].fence)}
    stale = [key for key, outcome in first.items() if not claims[key].is_held_by(outcome.fence)]
    valid = {key: outcome for key, outcome in first.items() if key not in set(stale)}
    evidence = valid | {key: first[key].model_copy(update={"code": STALE}) for key in stale}
    if evidence:
        rows = [attempt_row(key, claims[key].attempt, outcome, now_us, seal) for key, outcome in evidence.items()]
        db.execute(insert(attempts), rows)
    if valid:
        db.execute(_SETTLE, [_change(key, outcome, now_us) for key, outcome in valid.items()])
        find_heads(db, {claims[key].ordering_key for key in valid})
        tallies.note(db, [claims[key].change(one.state) for key, one in valid.items()])
    return Settled(sorted(valid), sorted(stale))


def unstorable(outcome: Outcome) -> Outcome:
    """Replaces an outcome that the database cannot store: the operation is held, because it may be in the chart."""
    message = _UNSTORABLE_MESSAGE
    return Outcome(state=State.HELD, fence=outcome.fence, code=UNSTORABLE, message=message, in_doubt=True)


def release(db: Connection, seal: Seal, now_us: int, operation_ids: Collection[str]) -> list[str]:
    """Release held operations; returns the ids of those that were held. Others are not changed.

    An operation that may have been written becomes `unknown`, to be searched for, unless a search did not find it; all others
    become `pending`. If a later operation of the patient is in progress, it waits for that operation's lease.
    """
    claims = _claims(db, operation_ids)
    released: dict[str, State] = {}
    for part in parts(sorted(claims)):
        released |= {key: State(state) for key, state in db.execute(_RELEASE, {"ids": part, "now_us": now_us})}
    history = {key: Outcome(state=state, fence=claims[key].fence, code="released") for key, state in released.items()}
    if history:
        rows = [attempt_row(key, claims[key].attempt, noted, now_us, seal) for key, noted in history.items()]
        db.execute(insert(attempts), rows)
    find_heads(db, {claims[key].ordering_key for key in released})
    tallies.note(db, [claims[key].change(state) for key, state in released.items()])
    return sorted(released)


def readdress(db: Connection, seal: Seal, now_us: int, operation_id: str, fence: int, intent: Intent) -> bool:
    """Store the intent with the patient's corrected id at the endpoint; False if the claim is stale or it was sent."""
    claims = _claims(db, [operation_id])
    claim = claims.get(operation_id)
    if claim is None or not claim.is_held_by(fence):
        return False
    unsent = operations.c.operation_id == operation_id, operations.c.state == State.IN_PROGRESS, ~operations.c.in_doubt
    row = db.execute(select(operations.c.intent).where(*unsent)).one_or_none()
    if row is None:
        return False
    before = seal.open(row.intent, operation_id)
    known = intent_of(row.intent, operation_id, seal)
    if known is None:
        return False
    if _identity(known) != _identity(intent):
        raise Unsafe("only the patient's id of an operation can be corrected, nothing else in its intent")
    sealed = seal.close(intent_form.encode(intent), operation_id)
    db.execute(update(operations).where(*unsent).values(intent=sealed))
    noted = Outcome(state=State.IN_PROGRESS, fence=fence, code="readdressed", request=before)
    db.execute(insert(attempts), [attempt_row(operation_id, claim.attempt, noted, now_us, seal)])
    return True


def _identity(intent: Intent) -> dict[str, Any]:
    return intent.model_dump(exclude={"subject_id", "payload"})


def _claims(db: Connection, wanted: Collection[str]) -> dict[str, _Claim]:
    """operation_id → its latest claim, with the ordering keys locked."""
    lock(db, {ordering_key for ordering_key, _ in keys_and_attempts(db, wanted).values()})
    c = operations.c
    columns = c.ordering_key, c.attempts, c.fence, c.answered, c.state, c.endpoint, c.purpose
    found: dict[str, _Claim] = {}
    for part in parts(sorted(wanted)):
        rows = db.execute(select(c.operation_id, *columns).where(c.operation_id.in_(part)))
        found |= {str(row[0]): _Claim(*row[1:]) for row in rows}
    return found


_SETTLE = (
    update(operations)
    .where(operations.c.operation_id == bindparam("settled_id"))
    .values(
        state=bindparam("state"),
        answered=operations.c.fence,
        in_doubt=or_(operations.c.in_doubt, bindparam("doubtful")),
        due_us=bindparam("due_us"),
        settled_us=bindparam("settled_us"),
        http_status=bindparam("http_status"),
        code=bindparam("code"),
        message=bindparam("message"),
        resource_id=func.coalesce(bindparam("resource_id"), operations.c.resource_id),
        version=func.coalesce(bindparam("version"), operations.c.version),
    )
)


_under_way = operations.alias()
_lease_end = (
    select(func.max(_under_way.c.due_us))
    .where(_under_way.c.ordering_key == operations.c.ordering_key, _under_way.c.state.in_(_LEASED))
    .scalar_subquery()
)
_surely_absent = func.coalesce(operations.c.code, "") == ABSENT
_RELEASE = (
    update(operations)
    .where(operations.c.operation_id.in_(bindparam("ids", expanding=True)), operations.c.state == State.HELD)
    .values(
        state=case((operations.c.in_doubt & ~_surely_absent, State.UNKNOWN), else_=State.PENDING),
        fence=operations.c.fence + 1,
        due_us=case((_lease_end > bindparam("now_us"), _lease_end), else_=bindparam("now_us")),
        http_status=None,
        code=None,
        message=None,
    )
    .returning(operations.c.operation_id, operations.c.state)
)


def _change(operation_id: str, outcome: Outcome, now_us: int) -> dict[str, Any]:
    done = outcome.state in TERMINAL
    waits = done or outcome.state is State.HELD
    return {
        "settled_id": operation_id,
        "state": outcome.state,
        "doubtful": outcome.state is State.UNKNOWN or outcome.in_doubt,
        "due_us": None if waits else now_us + _wait_us(outcome.retry_after_s),
        "settled_us": now_us if done else None,
    } | outcome_columns(outcome)


def _wait_us(wait_s: float | None) -> int:
    wanted_s = wait_s if wait_s is not None and wait_s > 0 else 0.0  # also where it is not a number
    return round(min(wanted_s, LONGEST_WAIT_S) * 1_000_000)


def entries_of(
    subscribers: Sequence[SettlementSubscriber], settled: Sequence[tuple[Operation, Outcome]]
) -> list[OutboxEntries]:
    """What the subscribers add to the outbox. Their defects are never taken for an outcome that cannot be stored."""
    try:
        return [notify(operation, outcome) for operation, outcome in settled for notify in subscribers]
    except RetryLater:
        raise
    except Exception as error:  # its text may hold PHI
        raise RuntimeError(f"a subscriber to settlements failed: {type(error).__name__}") from None
