"""Names to small integers: a device or a patient is one array index from here on.

An open-addressing hash table over bytes, so that `fast_json` can look up names without making Python objects. A key is a
scope (the tenant, or nothing) and a name.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from streams.telemetry.kernel.compiled import I32, I64, U8, U64, compiled

_FNV_OFFSET = np.uint64(14695981039346656037)
_FNV_PRIME = np.uint64(1099511628211)
COUNT, ARENA_USED = 0, 1
UNKNOWN_NAME = -2
"""The code of a name that another table does not know."""
N = TypeVar("N", bound=np.generic)


class Table(NamedTuple):
    """The arrays of an interner: hash slots, then for each code its hash and its bytes in the arena."""

    slots: I32
    hashes: U64
    starts: I64
    middles: I64
    ends: I64
    arena: U8
    counters: I64


@compiled
def _hash(buffer: U8, s1: int, e1: int, s2: int, e2: int) -> np.uint64:
    value = _FNV_OFFSET
    for i in range(s1, e1):
        value = (value ^ np.uint64(buffer[i])) * _FNV_PRIME
    value = (value ^ np.uint64(0xFF)) * _FNV_PRIME
    for i in range(s2, e2):
        value = (value ^ np.uint64(buffer[i])) * _FNV_PRIME
    return value


@compiled
def _same(table: Table, code: int, buffer: U8, s1: int, e1: int, s2: int, e2: int) -> bool:
    start, middle = table.starts[code], table.middles[code]
    if middle - start != e1 - s1 or table.ends[code] - middle != e2 - s2:
        return False
    for i in range(e1 - s1):
        if table.arena[start + i] != buffer[s1 + i]:
            return False
    for i in range(e2 - s2):
        if table.arena[middle + i] != buffer[s2 + i]:
            return False
    return True


@compiled
def find(table: Table, buffer: U8, s1: int, e1: int, s2: int, e2: int, add: bool) -> int:
    """The code of scope buffer[s1:e1] and name buffer[s2:e2]; -1 when it is new and `add` is false."""
    value = _hash(buffer, s1, e1, s2, e2)
    mask = table.slots.shape[0] - 1
    at = np.int64(value & np.uint64(mask))
    while True:
        code = table.slots[at]
        if code < 0:
            break
        if table.hashes[code] == value and _same(table, code, buffer, s1, e1, s2, e2):
            return int(code)
        at = (at + 1) & mask
    if not add:
        return -1
    # `reserve` has made room. Slots stay at most half full, so the search above always ends at an empty one.
    code = np.int32(table.counters[COUNT])
    used = table.counters[ARENA_USED]
    table.slots[at] = code
    table.hashes[code] = value
    table.starts[code] = used
    for i in range(s1, e1):
        table.arena[used] = buffer[i]
        used += 1
    table.middles[code] = used
    for i in range(s2, e2):
        table.arena[used] = buffer[i]
        used += 1
    table.ends[code] = used
    table.counters[ARENA_USED] = used
    table.counters[COUNT] = code + 1
    return int(code)


@compiled
def translate(names: Table, known: Table, out: I32) -> None:
    """For each code of `names` the code of the same name in `known`; UNKNOWN_NAME if it is not there."""
    for code in range(names.counters[COUNT]):
        start, middle, end = names.starts[code], names.middles[code], names.ends[code]
        found = find(known, names.arena, start, middle, middle, end, False)
        out[code] = UNKNOWN_NAME if found < 0 else found


@compiled
def _rehash(slots: I32, hashes: U64, count: int) -> None:
    mask = slots.shape[0] - 1
    for code in range(count):
        at = np.int64(hashes[code] & np.uint64(mask))
        while slots[at] >= 0:
            at = (at + 1) & mask
        slots[at] = code


@compiled
def _copy(table: Table, codes: I64, into: Table) -> None:
    used = 0
    for new in range(codes.shape[0]):
        old = codes[new]
        start, end = table.starts[old], table.ends[old]
        into.hashes[new], into.starts[new] = table.hashes[old], used
        into.middles[new] = used + table.middles[old] - start
        for i in range(start, end):
            into.arena[used] = table.arena[i]
            used += 1
        into.ends[new] = used
    into.counters[COUNT], into.counters[ARENA_USED] = codes.shape[0], used
    _rehash(into.slots, into.hashes, codes.shape[0])


class Interner:
    """Gives every (scope, name) one code, from 0 upwards, and the name back from the code."""

    def __init__(self) -> None:
        self.table = Table(
            np.full(1024, -1, np.int32), np.zeros(512, np.uint64), np.zeros(512, np.int64), np.zeros(512, np.int64),
            np.zeros(512, np.int64), np.zeros(1 << 14, np.uint8), np.zeros(2, np.int64),
        )  # fmt: skip
        self._names: dict[int, tuple[str, str]] = {}
        """A cache of `name`; the arrays are what counts."""

    def __len__(self) -> int:
        return int(self.table.counters[COUNT])

    def reserve(self, names: int, size: int) -> None:
        """Make room for so many new names of so many bytes altogether: the compiled loops cannot grow arrays."""
        t, count = self.table, len(self)
        hashes = grown(t.hashes, count + names)
        slots = t.slots
        if len(slots) < 2 * (count + names):
            slots = np.full(1 << (2 * (count + names)).bit_length(), -1, np.int32)
            _rehash(slots, hashes, count)
        self.table = Table(
            slots,
            hashes,
            grown(t.starts, count + names),
            grown(t.middles, count + names),
            grown(t.ends, count + names),
            grown(t.arena, int(t.counters[ARENA_USED]) + size),
            t.counters,
        )

    def compact(self, codes: I64) -> None:
        """Drop all other names; these get the codes from 0 upwards, in this order."""
        old, n = self.table, len(codes)
        hashes, starts, middles, ends = np.zeros(n, np.uint64), *(np.zeros(n, np.int64) for _ in range(3))
        slots = np.full(1 << max(10, (2 * n).bit_length()), -1, np.int32)
        arena = np.zeros(int((old.ends[codes] - old.starts[codes]).sum()), np.uint8)
        self.table = Table(slots, hashes, starts, middles, ends, arena, np.zeros(2, np.int64))
        _copy(old, codes, self.table)
        self._names = {}

    def code(self, scope: str, name: str) -> int:
        """The code of a name; a new name gets the next one."""
        first, second = scope.encode(), name.encode()
        self.reserve(1, len(first) + len(second))
        buffer = np.frombuffer(first + second, np.uint8)
        return find(self.table, buffer, 0, len(first), len(first), len(buffer), True)

    def name(self, code: int) -> tuple[str, str]:
        """(scope, name) of a code."""
        known = self._names.get(code)
        if known is None:
            t = self.table
            start, middle, end = int(t.starts[code]), int(t.middles[code]), int(t.ends[code])
            known = t.arena[start:middle].tobytes().decode(), t.arena[middle:end].tobytes().decode()
            self._names[code] = known
        return known


def grown(array: NDArray[N], needed: int) -> NDArray[N]:
    """The array, or a copy with room for at least `needed` elements, at least doubled."""
    if len(array) >= needed:
        return array
    larger = np.zeros(max(needed, 2 * len(array)), array.dtype)
    larger[: len(array)] = array
    return larger
