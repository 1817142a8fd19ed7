"""The port of the ledger, the durable table of operations."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from schemas.audit import Step
from schemas.config import LedgerKeeping
from schemas.operation import Intent, Operation, Outcome, State
from schemas.ports.kafka import Outgoing, Position


class Recorded(NamedTuple):
    """The operation of an intent: inserted now, or a duplicate of one that was there."""

    operation_id: str
    state: State
    duplicate: bool
    amends: str | None


class OutboxEntries(NamedTuple):
    """Audit steps of a role, and records: written to the outbox in the transaction of the change that causes them."""

    role: str
    steps: Sequence[Step] = ()
    records: Sequence[Outgoing] = ()


class OutboxRecord(NamedTuple):
    """One record of the outbox and its number there."""

    id: int
    record: Outgoing


SettlementSubscriber = Callable[[Operation, Outcome], OutboxEntries]
"""Called for every outcome that is written, by whatever path, inside the settling transaction: it must be pure. The
operation is as it was claimed."""


class Ledger(Protocol):
    """The durable table of operations. Methods are synchronous and thread-safe; RetryLater if the database is unavailable."""

    def record(
        self,
        intents: Sequence[Intent],
        position: Position | None = None,
        entries: Callable[[Sequence[Recorded]], OutboxEntries] | None = None,
    ) -> list[Recorded]:
        """Insert each intent once (its key decides), in one transaction; earlier writes of the same event are amended.

        The position of the intents is stored with them, also when there are none. If the ledger lost commits before that
        position, they are recorded as `unknown` and `in_doubt`: they may have been sent. `entries` is called with the
        result; what it returns goes to the outbox in the same transaction.
        """
        ...

    def positions(self, topic: str) -> dict[int, int]:
        """partition → the offset from which records may cause intents that this ledger does not have."""
        ...

    def count_removed(self, position: Position, since: int, entries: Callable[[int], OutboxEntries]) -> int:
        """Count the records that retention removed before this position, once across all workers; returns their number.

        They are counted from the partition's stored position on, or from `since` if none is stored, and the position
        advances past them. `entries` is called with the first of them; its result goes to the outbox in the same transaction.
        """
        ...

    def removed_unread(self, topic: str) -> dict[int, int]:
        """partition → how many of its records were counted as removed, since the ledger began."""
        ...

    def claim(self, endpoint: str, limit: int, lease_s: float) -> list[Operation]:
        """Claim, per patient, the earliest operation that is neither terminal nor held, if it is due.

        Claimed pending and deferred operations become `in_progress` for `lease_s` by the database's clock; an
        `in_progress` whose lease ran out is returned as `unknown` (it may have been sent) and is `in_doubt` from then on.
        `unknown` ones are returned as `unknown`, to be searched. One that cannot be read is settled as held (`unreadable`)
        and returned as `held`: nothing can be sent for it. Each claim has a `fence`, greater than all before.
        """
        ...

    def settle(self, outcomes: Mapping[str, Outcome], claimed: Mapping[str, Operation] | None = None) -> list[str]:
        """Write the outcomes of claimed operations (operation_id → outcome) and their evidence, in one transaction.

        Returns the ids of stale ones: another worker has claimed them since. They change nothing and are kept as evidence.
        The same outcome under the same fence again changes nothing and is not stale. Settlement subscribers are called for
        the outcomes that are written; operations that are not in `claimed` are read for them.
        """
        ...

    def readdress(self, operation_id: str, fence: int, intent: Intent, entries: OutboxEntries | None = None) -> bool:
        """Store a claimed operation's intent with the patient's corrected id at the endpoint, before anything is sent.

        Only `subject_id` and `payload` may differ. False, and nothing is changed, when another worker has claimed the
        operation, or when it is in doubt.
        """
        ...

    def operation(self, operation_id: str) -> Operation | None:
        """One operation."""
        ...

    def states(self) -> dict[str, dict[State, int]]:
        """endpoint → state → count."""
        ...

    def purge_expired(self, keeping: LedgerKeeping) -> bool:
        """Delete a small batch of what is past its retention; true when there may be more."""
        ...

    def states_by_purpose(self) -> dict[str, dict[State, int]]:
        """purpose → state → count."""
        ...

    def window_ids(self, after: int = 0, limit: int = 10_000) -> list[tuple[int, list[str]]]:
        """A page of the intents of windows after a sequence, in order: (sequence, the window_ids that it reports)."""
        ...

    def keyed_hash(self, *parts: str) -> str:
        """The name of a patient (tenant, endpoint, patient) or a device (tenant, device) in the ledger."""
        ...

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
        """Succeeded operations of a device or patient (by `keyed_hash`) whose readings overlap first to last, inclusive.

        In order of sequence, after the given one. Operations without a span are left out where a span is given.
        """
        ...

    def reviewed_fingerprints(self, kind: str) -> dict[str, str]:
        """name → fingerprint of each record of this kind that was compared with what is charted; both keyed hashes."""
        ...

    def mark_reviewed(
        self, kind: str, fingerprints: Mapping[str, str | None], entries: OutboxEntries | None = None
    ) -> None:
        """Store what was compared; None removes the name."""
        ...

    def report_once(self, kind: str, reports: Mapping[str, tuple[str, OutboxEntries]]) -> list[str]:
        """name → (fingerprint, entries): store names that are not known yet and write their entries. Returns those names.

        Each name is returned to one caller only, until `mark_reviewed` removes it.
        """
        ...

    def oldest_outbox_age_s(self) -> float | None:
        """The age of the oldest record of the outbox; None when it is empty."""
        ...

    def lease_outbox(
        self, holder: str, limit: int, lease_s: float, without: Collection[str] = ()
    ) -> list[OutboxRecord]:
        """The first records of the outbox, in order, for one holder at a time: no other gets any for `lease_s`.

        Records of the topics in `without` are left out.
        """
        ...

    def confirm_sent(self, ids: Collection[int]) -> None:
        """Delete records of the outbox that Kafka has confirmed."""
        ...
