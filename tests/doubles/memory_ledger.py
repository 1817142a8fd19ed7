"""A ledger in memory that follows `schemas.ports.Ledger`, for tests of what uses a ledger. It can be made to be away."""

import threading
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from schemas.errors import RetryLater
from schemas.operation import TERMINAL, Intent, Operation, Outcome, State
from schemas.ports import Recorded

_RESTING = TERMINAL | {State.HELD}


class MemoryLedger:
    """Operations by id, in order of insertion. `history` keeps every outcome, as the attempts table would."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.operations: dict[str, Operation] = {}
        self.history: dict[str, list[Outcome]] = {}
        self.away = False

    def record(self, intents: Sequence[Intent], now: datetime) -> list[Recorded]:
        with self._open():
            return [self._record(intent, now) for intent in intents]

    def _record(self, intent: Intent, now: datetime) -> Recorded:
        same_event = [operation for operation in self.operations.values() if _event(operation.intent) == _event(intent)]
        for operation in same_event:
            if operation.intent.content_hash == intent.content_hash:
                return Recorded(operation.operation_id, operation.state, True, operation.amends)
        sequence = len(self.operations) + 1
        amends = same_event[-1].operation_id if same_event else None
        operation = Operation(
            operation_id=f"op-{sequence}",
            sequence=sequence,
            intent=intent,
            state=State.PENDING,
            amends=amends,
            created_at=now,
            next_attempt_at=now,
        )
        self.operations[operation.operation_id] = operation
        return Recorded(operation.operation_id, State.PENDING, False, amends)

    def claim(self, endpoint: str, limit: int, now: datetime, lease_s: float) -> list[Operation]:
        with self._open():
            heads: dict[tuple[str, str], Operation] = {}
            for operation in self.operations.values():
                if operation.intent.endpoint == endpoint and operation.state not in _RESTING:
                    heads.setdefault((operation.intent.tenant_id, operation.intent.patient_id), operation)
            due = [o for o in heads.values() if o.next_attempt_at is None or o.next_attempt_at <= now]
            return [self._lease(operation, now + timedelta(seconds=lease_s)) for operation in due[:limit]]

    def _lease(self, operation: Operation, until: datetime) -> Operation:
        started = operation.state in (State.PENDING, State.DEFERRED)
        taken = operation.model_copy(
            update={
                "state": State.IN_PROGRESS if started else State.UNKNOWN,
                "attempts": operation.attempts + 1,
                "next_attempt_at": until,
            }
        )
        self.operations[operation.operation_id] = taken
        return taken

    def settle(self, outcomes: Mapping[str, Outcome], now: datetime) -> None:
        with self._open():
            for operation_id, outcome in outcomes.items():
                operation = self.operations[operation_id]
                self.history.setdefault(operation_id, []).append(outcome)
                if operation.state in TERMINAL:
                    continue
                resting = outcome.state in _RESTING
                self.operations[operation_id] = operation.model_copy(
                    update={
                        "state": outcome.state,
                        "http_status": outcome.http_status,
                        "code": outcome.code,
                        "message": outcome.message,
                        "resource_id": outcome.resource_id or operation.resource_id,
                        "version": outcome.version or operation.version,
                        "next_attempt_at": None if resting else outcome.retry_at or now,
                        "settled_at": now if outcome.state in TERMINAL else None,
                    }
                )

    def operation(self, operation_id: str) -> Operation | None:
        with self._open():
            return self.operations.get(operation_id)

    def states(self) -> dict[str, dict[State, int]]:
        counts: dict[str, dict[State, int]] = {}
        with self._open():
            for operation in self.operations.values():
                of_endpoint = counts.setdefault(operation.intent.endpoint, {})
                of_endpoint[operation.state] = of_endpoint.get(operation.state, 0) + 1
        return counts

    def source_ids(self) -> set[str]:
        with self._open():
            return {name for operation in self.operations.values() for name in operation.intent.source_ids}

    def _open(self) -> threading.Lock:
        if self.away:
            raise RetryLater("the ledger is away", after_s=0.01)
        return self._lock


def _event(intent: Intent) -> tuple[str, ...]:
    return intent.tenant_id, intent.endpoint, intent.resource_type, intent.source_event_id
