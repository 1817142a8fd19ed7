"""Which record of a key is true when several partitions hold one: the one appended last. A tie or a doubt: none.

Within a partition the log's own order decides. Between partitions only the append times of their brokers can, and each is
known as a span: what was appended at an unknown time (`CreateTime`), or by a clock that had stepped back, may be older or
newer than it looks.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

LAST_MS: Final = 2**63 - 1
_NONE_OLDER: Final = -1


class Appended(NamedTuple):
    """When a record was appended, in epoch ms: not before the first, not after the second. Mostly they are the same."""

    earliest_ms: int
    latest_ms: int


UNDATED: Final = Appended(0, LAST_MS)


class PartitionClock:
    """Dates one partition's records in their order. A time before an earlier record's is in doubt as far as that one."""

    def __init__(self) -> None:
        self._latest_ms = 0

    def appended(self, time_ms: int) -> Appended:
        """When the next record was appended, by its broker's word."""
        self._latest_ms = max(self._latest_ms, time_ms)
        return Appended(time_ms, self._latest_ms)


class Claim(NamedTuple):
    """A key's last record in one partition. `value` is None for a tombstone."""

    partition: int
    appended: Appended
    value: Any


class Claims(NamedTuple):
    """What the partitions claim of one key: the claims that may be the newest, and how late the others may be."""

    newest: tuple[Claim, ...]
    older_ms: int = _NONE_OLDER

    def with_next(self, claim: Claim) -> Claims:
        """As it stands with the partition's next record of this key."""
        claims = (*(known for known in self.newest if known.partition != claim.partition), claim)
        if len(claims) == 1:
            return Claims(claims, self.older_ms)
        # The newest of all was appended then or later, so that whatever was surely appended before is not the newest.
        since_ms = max(known.appended.earliest_ms for known in claims)
        older = [known.appended.latest_ms for known in claims if known.appended.latest_ms < since_ms]
        newest = tuple(known for known in claims if known.appended.latest_ms >= since_ms)
        return Claims(newest, max(self.older_ms, *older) if older else self.older_ms)

    @property
    def is_split(self) -> bool:
        """Whether more than one partition has held the key."""
        return len(self.newest) > 1 or self.older_ms != _NONE_OLDER

    @property
    def in_doubt(self) -> bool:
        """Whether it cannot be told which value is true."""
        if not self.is_split:
            return False
        value = self.newest[0].value
        since_ms = max(claim.appended.earliest_ms for claim in self.newest)
        return since_ms <= self.older_ms or any(claim.value != value for claim in self.newest[1:])

    @property
    def value(self) -> Any:
        """What the newest record says; meaningless in doubt."""
        return self.newest[0].value
