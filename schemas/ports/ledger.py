"""What the core asks of the ledger, the durable table of operations."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from schemas.audit import Step
from schemas.config import LedgerKeeping
from schemas.operation import Intent, Operation, Outcome, State
from schemas.ports.kafka import Outgoing, Position


class Recorded(NamedTuple):
    """What the ledger made of an intent."""

    operation_id: str
    state: State
    duplicate: bool
    amends: str | None


class Beside(NamedTuple):
    """What goes out because of a change of the ledger, in the change's transaction: a role's audit steps, and records."""

    role: str
    steps: Sequence[Step] = ()
    records: Sequence[Outgoing] = ()


class Parcel(NamedTuple):
    """One record of the outbox, with its number there."""

    id: int
    record: Outgoing


class Ledger(Protocol):
    """The durable table of operations. All methods are synchronous and thread-safe; RetryLater when the database is away."""

    def record(
        self,
        intents: Sequence[Intent],
        position: Position | None = None,
        beside: Callable[[Sequence[Recorded]], Beside] | None = None,
    ) -> list[Recorded]:
        """Insert each intent once (its key decides), in one transaction; earlier writes of the same event are amended.

        The position that they bring is stored with them, if there are none as well. Where the ledger went back before
        it, they are recorded as `unknown` and `in_doubt`: they may have been sent. `beside` is told what became of
        them, and gives what goes out in the same transaction.
        """
        ...

    def positions(self, topic: str) -> dict[int, int]:
        """partition → the offset from which on records may cause what this ledger does not have."""
        ...

    def count_removed(self, position: Position, since: int, beside: Callable[[int], Beside]) -> int:
        """Retention removed what lay before this position: how many records, counted once, whoever counts.

        They are counted from the partition's stored position on, or from `since` where none is stored, and the position
        moves past them. `beside` is given the first of them and says what goes out in the same transaction.
        """
        ...

    def removed_unread(self, topic: str) -> dict[int, int]:
        """partition → how many of its records were counted as removed, since the ledger began."""
        ...

    def claim(self, endpoint: str, limit: int, lease_s: float) -> list[Operation]:
        """Take work: per patient the earliest operation that is neither terminal nor held, if due; at most one a patient.

        Claimed pending and deferred operations become `in_progress` for `lease_s` by the database's clock; an
        `in_progress` whose lease ran out is given as `unknown` (it may have been sent) and is `in_doubt` from then on.
        `unknown` ones come back as `unknown`, to be searched. One that cannot be read is held (`unreadable`) and is
        given as `held`: nothing can be sent for it. Each claim has a `fence`, greater than all before.
        """
        ...

    def settle(self, outcomes: Mapping[str, Outcome], beside: Mapping[str, Beside] | None = None) -> list[str]:
        """Write what became of claimed operations (operation_id → outcome), with request and response, in one transaction.

        Gives the ids of the stale ones: their claim had passed to another. They change nothing and are kept as evidence.
        Of `beside` (by operation_id) that of stale ones does not go out, nor that of repeats, where it went already.
        The same outcome under the same fence again changes nothing and is not stale.
        """
        ...

    def readdress(self, operation_id: str, fence: int, intent: Intent, beside: Beside | None = None) -> bool:
        """Store a claimed operation's intent with the patient's corrected id at the endpoint, before anything is sent.

        Only `subject_id` and `resource` may differ. False, and nothing is changed and nothing goes out, when the claim
        has passed, or when the operation is in doubt.
        """
        ...

    def operation(self, operation_id: str) -> Operation | None:
        """One operation."""
        ...

    def states(self) -> dict[str, dict[State, int]]:
        """endpoint → state → count."""
        ...

    def tidy(self, keeping: LedgerKeeping) -> bool:
        """Forget a small batch of what is older than is kept; true when there may be more."""
        ...

    def source_ids(self) -> set[str]:
        """Every window_id that stands in an intent."""
        ...

    def name(self, *parts: str) -> str:
        """A keyed hash: how the ledger calls a patient (tenant, endpoint, patient) or a device (tenant, device)."""
        ...

    def charted(
        self,
        *,
        device: str | None = None,
        patient: str | None = None,
        first: datetime | None = None,
        last: datetime | None = None,
        after: int = 0,
        limit: int = 500,
    ) -> list[Operation]:
        """Succeeded operations of a device or patient (by `name`) whose readings overlap first to last, inclusive.

        In order of sequence, those after one. What was recorded without its span is left out where a span is asked.
        """
        ...

    def reviewed(self, kind: str) -> dict[str, str]:
        """name → fingerprint of what of this kind was compared with the charted; both as `name` gives them."""
        ...

    def mark_reviewed(self, kind: str, fingerprints: Mapping[str, str | None], beside: Beside | None = None) -> None:
        """Remember what was compared; None forgets the name."""
        ...

    def report_once(self, kind: str, besides: Mapping[str, tuple[str, Beside]]) -> list[str]:
        """Name → (fingerprint, what goes out): remember names not known yet, and put out what is beside them. Gives those.

        Each name is given to one caller only, until `mark_reviewed` forgets it.
        """
        ...

    def waiting_s(self) -> float | None:
        """How long the oldest record of the outbox has waited; None when nothing waits."""
        ...

    def outbox(self, holder: str, limit: int, lease_s: float, without: Collection[str] = ()) -> list[Parcel]:
        """The first records, in order, for one holder at a time: nobody else gets any for `lease_s`.

        Those of topics named in `without` are left out.
        """
        ...

    def sent(self, ids: Collection[int]) -> None:
        """Kafka confirmed these records of the outbox."""
        ...
