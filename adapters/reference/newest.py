"""Which record of a key is valid if several partitions contain one: the one appended last. None if the order is ambiguous.

Within a partition the offset decides. Between partitions only the append times of their brokers can, and each is a range:
a record with an unknown append time (`CreateTime`), or with that of a clock that stepped back, may be older or newer.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

LAST_MS: Final = 2**63 - 1
_NONE_OLDER: Final = -1


class Appended(NamedTuple):
    """When a record was appended, as a range in epoch ms. Usually both bounds are equal."""

    earliest_ms: int
    latest_ms: int


UNDATED: Final = Appended(0, LAST_MS)


class PartitionClock:
    """Append times of one partition's records. A time before an earlier record's is uncertain up to that record's time."""

    def __init__(self) -> None:
        self._latest_ms = 0

    def appended(self, time_ms: int) -> Appended:
        """When the next record was appended, according to its broker's timestamp."""
        self._latest_ms = max(self._latest_ms, time_ms)
        return Appended(time_ms, self._latest_ms)


class Claim(NamedTuple):
    """A key's last record in one partition. `value` is None for a tombstone."""

    partition: int
    appended: Appended
    value: Any


class Claims(NamedTuple):
    """The claims of all partitions on one key: those that may be the newest, and the latest possible time of the others."""

    newest: tuple[Claim, ...]
    older_ms: int = _NONE_OLDER

    def with_next(self, claim: Claim) -> Claims:
        """The claims after the partition's next record of this key."""
        claims = (*(known for known in self.newest if known.partition != claim.partition), claim)
        if len(claims) == 1:
            return Claims(claims, self.older_ms)
        # The newest claim was appended at this time or later, so a claim that was certainly appended before is older.
        since_ms = max(known.appended.earliest_ms for known in claims)
        older = [known.appended.latest_ms for known in claims if known.appended.latest_ms < since_ms]
        newest = tuple(known for known in claims if known.appended.latest_ms >= since_ms)
        return Claims(newest, max(self.older_ms, *older) if older else self.older_ms)

    @property
    def is_split(self) -> bool:
        """Whether more than one partition has contained the key."""
        return len(self.newest) > 1 or self.older_ms != _NONE_OLDER

    @property
    def in_doubt(self) -> bool:
        """Whether it is ambiguous which value is valid."""
        if not self.is_split:
            return False
        value = self.newest[0].value
        since_ms = max(claim.appended.earliest_ms for claim in self.newest)
        return since_ms <= self.older_ms or any(claim.value != value for claim in self.newest[1:])

    @property
    def value(self) -> Any:
        """The value of the newest record; undefined if in doubt."""
        return self.newest[0].value
