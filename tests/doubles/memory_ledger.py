"""A ledger in memory that follows `schemas.ports.Ledger`, for tests of what uses a ledger. It can be made to be away."""

import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from schemas.audit import Step
from schemas.errors import RetryLater
from schemas.operation import ABSENT, TERMINAL, Intent, Operation, Outcome, State
from schemas.ports.kafka import Outgoing, Position
from schemas.ports.ledger import OutboxEntries, Recorded, SettlementSubscriber

_RESTING = TERMINAL | {State.HELD}


class MemoryLedger:
    """Operations by id, in order of insertion. `history` keeps every outcome, as the attempts table would."""

    def __init__(self, *subscribers: SettlementSubscriber) -> None:
        self._subscribers = subscribers
        self._lock = threading.Lock()
        self.operations: dict[str, Operation] = {}
        self.history: dict[str, list[Outcome]] = {}
        self.away = False
        self._positions: dict[tuple[str, int], int] = {}
        self._removed: Counter[tuple[str, int]] = Counter()
        self.steps: list[Step] = []
        self.records: list[Outgoing] = []
        self._answered: dict[str, int] = {}
        self._reviewed: dict[str, dict[str, str]] = {}

    def record(
        self,
        intents: Sequence[Intent],
        position: Position | None = None,
        entries: Callable[[Sequence[Recorded]], OutboxEntries] | None = None,
        *,
        now: datetime | None = None,
    ) -> list[Recorded]:
        with self._open():
            if position is not None:
                self._positions[position.topic, position.partition] = position.next_offset
            recorded = [self._record(intent, now or _now()) for intent in intents]
            self.steps += entries(recorded).steps if entries else ()
            return recorded

    def positions(self, topic: str) -> dict[int, int]:
        with self._open():
            return {number: at for (name, number), at in self._positions.items() if name == topic}

    def count_removed(self, position: Position, since: int, entries: Callable[[int], OutboxEntries]) -> int:
        with self._open():
            first = self._positions.get((position.topic, position.partition), since)
            if first >= position.next_offset:
                return 0
            self._positions[position.topic, position.partition] = position.next_offset
            self._removed[position.topic, position.partition] += position.next_offset - first
            self.steps += entries(first).steps
            return position.next_offset - first

    def removed_unread(self, topic: str) -> dict[int, int]:
        with self._open():
            return {number: self._removed[name, number] for name, number in self._positions if name == topic}

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

    def claim(self, endpoint: str, limit: int, lease_s: float) -> list[Operation]:
        now = _now()
        with self._open():
            heads: dict[tuple[str, str], Operation] = {}
            for operation in self.operations.values():
                if operation.intent.endpoint == endpoint and operation.state not in _RESTING:
                    heads.setdefault((operation.intent.tenant_id, operation.intent.patient_id), operation)
            due = [o for o in heads.values() if o.next_attempt_at is None or o.next_attempt_at <= now]
            return [self._lease(operation, now, lease_s) for operation in due[:limit]]

    def _lease(self, operation: Operation, now: datetime, lease_s: float) -> Operation:
        started = operation.state in (State.PENDING, State.DEFERRED)
        taken = operation.model_copy(
            update={
                "state": State.IN_PROGRESS if started else State.UNKNOWN,
                "attempts": operation.attempts + 1,
                "fence": operation.fence + 1,
                "in_doubt": operation.in_doubt or not started,
                "claimed_at": now,
                "next_attempt_at": now + timedelta(seconds=lease_s),
            }
        )
        self.operations[operation.operation_id] = taken
        return taken

    def settle(self, outcomes: Mapping[str, Outcome], claimed: Mapping[str, Operation] | None = None) -> list[str]:
        with self._open():
            stale: list[str] = []
            for operation_id, outcome in outcomes.items():
                operation, history = self.operations[operation_id], self.history.setdefault(operation_id, [])
                if self._answered.get(operation_id) == outcome.fence:
                    continue
                if operation.fence != outcome.fence:
                    stale.append(operation_id)
                    history.append(outcome.model_copy(update={"code": "stale_claim"}))
                else:
                    self._answered[operation_id] = outcome.fence
                    self.operations[operation_id] = _settled(operation, outcome)
                    history.append(outcome)
                    self._notify((claimed or {}).get(operation_id, operation), outcome)
            return stale

    def _notify(self, operation: Operation, outcome: Outcome) -> None:
        for subscriber in self._subscribers:
            entries = subscriber(operation, outcome)
            self.steps += entries.steps
            self.records += entries.records

    def readdress(self, operation_id: str, fence: int, intent: Intent, entries: OutboxEntries | None = None) -> bool:
        with self._open():
            operation = self.operations[operation_id]
            if operation.fence != fence or operation.in_doubt or operation.state is not State.IN_PROGRESS:
                return False
            self.operations[operation_id] = operation.model_copy(update={"intent": intent})
            self.steps += (entries or OutboxEntries("")).steps
            return True

    def release(self, operation_ids: Collection[str], entries: Mapping[str, OutboxEntries] | None = None) -> list[str]:
        with self._open():
            held = {key for key in operation_ids if key in self.operations}
            freed = sorted(key for key in held if self.operations[key].state is State.HELD)
            for key in freed:
                self.operations[key] = _released(self.operations[key])
                self.steps += (entries or {}).get(key, OutboxEntries("")).steps
            return freed

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

    def purge_expired(self, keeping: object) -> bool:
        return False

    def states_by_purpose(self) -> dict[str, dict[State, int]]:
        counts: dict[str, dict[State, int]] = {}
        with self._open():
            for operation in self.operations.values():
                of = counts.setdefault(operation.intent.purpose, {})
                of[operation.state] = of.get(operation.state, 0) + 1
        return counts

    def window_ids(self, after: int = 0, limit: int = 10_000) -> list[tuple[int, list[str]]]:
        with self._open():
            found = [
                one for one in self.operations.values() if one.sequence > after and one.intent.source.kind == "window"
            ]
            return [(one.sequence, one.intent.source.part_ids) for one in found[:limit]]

    def keyed_hash(self, *parts: str) -> str:
        return "|".join(parts)

    def list_charted(
        self,
        *,
        device: str | None = None,
        patient: str | None = None,
        first: datetime | None = None,
        last: datetime | None = None,
        after: int = 0,
        limit: int = 500,
    ) -> list[Operation]:
        def asked(operation: Operation) -> bool:
            of = operation.intent
            return (
                operation.state is State.SUCCEEDED
                and operation.sequence > after
                and (
                    device is None
                    or (
                        of.source.device_id is not None and self.keyed_hash(of.tenant_id, of.source.device_id) == device
                    )
                )
                and (patient is None or self.keyed_hash(of.tenant_id, of.endpoint, of.patient_id) == patient)
                and (first is None or (of.source.last_time is not None and of.source.last_time >= first))
                and (last is None or (of.source.first_time is not None and of.source.first_time <= last))
            )

        with self._open():
            return list(filter(asked, self.operations.values()))[:limit]

    def reviewed_fingerprints(self, kind: str) -> dict[str, str]:
        with self._open():
            return dict(self._reviewed.get(kind, {}))

    def report_once(self, kind: str, reports: Mapping[str, tuple[str, OutboxEntries]]) -> list[str]:
        fresh = [name for name in reports if name not in self.reviewed_fingerprints(kind)]
        for name in fresh:
            self.mark_reviewed(kind, {name: reports[name][0]}, reports[name][1])
        return fresh

    def mark_reviewed(
        self, kind: str, fingerprints: Mapping[str, str | None], entries: OutboxEntries | None = None
    ) -> None:
        with self._open():
            self.steps += entries.steps if entries else ()
            self.records += entries.records if entries else ()
            known = self._reviewed.setdefault(kind, {})
            for name, fingerprint in fingerprints.items():
                known.pop(name, None)
                if fingerprint is not None:
                    known[name] = fingerprint

    def _open(self) -> threading.Lock:
        if self.away:
            raise RetryLater("the ledger is away", after_s=0.01)
        return self._lock


def _event(intent: Intent) -> tuple[str, ...]:
    return intent.tenant_id, intent.endpoint, intent.resource_type, intent.source.event_id


def _now() -> datetime:
    return datetime.now(UTC)


def _settled(operation: Operation, outcome: Outcome) -> Operation:
    resting, now = outcome.state in _RESTING, _now()
    return operation.model_copy(
        update={
            "state": outcome.state,
            "in_doubt": operation.in_doubt or outcome.in_doubt or outcome.state is State.UNKNOWN,
            "http_status": outcome.http_status,
            "code": outcome.code,
            "message": outcome.message,
            "resource_id": outcome.resource_id or operation.resource_id,
            "version": outcome.version or operation.version,
            "next_attempt_at": None if resting else now + timedelta(seconds=outcome.retry_after_s or 0.0),
            "settled_at": now if outcome.state in TERMINAL else None,
        }
    )


def _released(operation: Operation) -> Operation:
    searched_first = operation.in_doubt and operation.code != ABSENT
    return operation.model_copy(
        update={
            "state": State.UNKNOWN if searched_first else State.PENDING,
            "fence": operation.fence + 1,
            "next_attempt_at": _now(),
            "http_status": None,
            "code": None,
            "message": None,
        }
    )
