"""Which record of a key is true when partitions disagree: the one appended last, and none in doubt."""

from __future__ import annotations

from itertools import permutations
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.reference.newest import UNDATED, Appended, Claim, Claims, PartitionClock
from adapters.reference.tables import UNREADABLE, Table
from schemas.topics import CONSENTS

KEY = ("north", "p-1")
CLOSED = "closed"


class Wrote(NamedTuple):
    """A record of the one key; `at` None is a time that no broker gave."""

    partition: int
    at: int | None
    value: Any


def read(records: list[Wrote]) -> Any:
    """What may be used once these were read, in this order."""
    table: Table[Any] = Table(CONSENTS)
    clocks: dict[int, PartitionClock] = {}
    for record in records:
        clock = clocks.setdefault(record.partition, PartitionClock())
        appended = UNDATED if record.at is None else clock.appended(record.at)
        before = table.values.get(KEY)
        changed = table.apply(KEY, Claim(record.partition, appended, record.value))
        assert changed == (table.values.get(KEY) != before)
    closed = table.is_blocked(KEY)
    assert closed == (KEY in table.in_doubt or KEY in table.unreadable)
    assert not (closed and KEY in table.values)
    return CLOSED if closed else table.values.get(KEY)


@pytest.mark.parametrize(
    ("records", "true"),
    [
        ([Wrote(0, 100, "a"), Wrote(0, 200, "b")], "b"),
        ([Wrote(0, 200, "a"), Wrote(0, 100, "b")], "b"),
        ([Wrote(0, None, "a"), Wrote(0, None, "b")], "b"),
        ([Wrote(0, 100, "a"), Wrote(1, 200, "b")], "b"),
        ([Wrote(1, 200, "b"), Wrote(0, 100, "a")], "b"),
        ([Wrote(0, 100, "a"), Wrote(1, 200, None)], None),
        ([Wrote(1, 200, None), Wrote(0, 100, "a")], None),
        ([Wrote(1, 200, None), Wrote(0, 100, "a"), Wrote(0, 300, "c")], "c"),
        ([Wrote(0, 100, "a"), Wrote(1, 100, "b")], CLOSED),
        ([Wrote(0, 100, "a"), Wrote(1, 100, "a")], "a"),
        ([Wrote(0, 100, "a"), Wrote(1, 100, "b"), Wrote(0, 100, "c")], CLOSED),
        ([Wrote(0, 100, "a"), Wrote(1, 100, "b"), Wrote(0, 101, "c")], "c"),
        ([Wrote(0, 100, "a"), Wrote(1, 100, "b"), Wrote(2, 99, "c")], CLOSED),
        ([Wrote(0, None, "a"), Wrote(1, 100, "b")], CLOSED),
        ([Wrote(0, None, "a"), Wrote(1, 100, "a")], "a"),
        ([Wrote(0, None, "a"), Wrote(1, 100, "b"), Wrote(1, 200, "c")], CLOSED),
        ([Wrote(0, None, "a"), Wrote(1, 100, "b"), Wrote(0, 200, "c")], "c"),
        ([Wrote(0, 100, "a"), Wrote(1, 200, UNREADABLE)], CLOSED),
        ([Wrote(0, 300, "a"), Wrote(1, 200, UNREADABLE)], "a"),
        ([Wrote(0, 100, UNREADABLE), Wrote(0, 200, "a")], "a"),
    ],
)
def test_the_record_appended_last_is_current_and_a_tie_or_doubt_closes_the_key(records: list[Wrote], true: str | None):
    assert read(records) == true


def test_an_append_clock_that_stepped_back_does_not_let_an_older_record_of_another_partition_win():
    x, y, z = Wrote(1, 200, "x"), Wrote(1, 100, "y"), Wrote(0, 150, "z")

    assert read([x, y, z]) == read([x, z, y]) == read([z, x, y]) == CLOSED
    assert read([x, y, z, Wrote(0, 201, "later")]) == "later"


def interleavings(draw: st.DrawFn, parts: list[list[Wrote]]) -> list[Wrote]:
    order = draw(st.permutations([number for number, part in enumerate(parts) for _ in part]))
    left = [iter(part) for part in parts]
    return [next(left[number]) for number in order]


@st.composite
def logs(draw: st.DrawFn, *, clocks_step_back: bool = False) -> list[list[Wrote]]:
    parts = []
    for partition in range(3):
        times = draw(st.lists(st.integers(1, 8), max_size=4))
        values = draw(st.lists(st.sampled_from(["a", "b", None]), min_size=len(times), max_size=len(times)))
        ordered = times if clocks_step_back else sorted(times)
        parts.append([Wrote(partition, at, value) for at, value in zip(ordered, values, strict=True)])
    return parts


def by_rule(parts: list[list[Wrote]]) -> Any:
    """The rule itself: of each partition's last record the latest; of a tie what all of them say."""
    last = [part[-1] for part in parts if part]
    latest = max((record.at for record in last), default=0)
    said = {record.value for record in last if record.at == latest}
    return said.pop() if len(said) == 1 else CLOSED if said else None


@given(logs(), st.data())
def test_readers_agree_in_whatever_order_they_read_the_partitions(parts: list[list[Wrote]], data: st.DataObject):
    read_in_one_order = data.draw(st.composite(lambda draw: interleavings(draw, parts))())

    assert read(read_in_one_order) == by_rule(parts)


@given(logs(), st.data())
def test_a_compacted_log_reads_as_the_whole_one(parts: list[list[Wrote]], data: st.DataObject):
    kept = [[r for r in part if r is part[-1] or data.draw(st.booleans())] for part in parts]

    assert read([record for part in kept for record in part]) == by_rule(parts)


@given(logs(clocks_step_back=True), st.data())
def test_with_clocks_that_step_back_a_value_in_use_is_the_last_of_its_partition(
    parts: list[list[Wrote]], data: st.DataObject
):
    found = read(data.draw(st.composite(lambda draw: interleavings(draw, parts))()))

    assert found in (CLOSED, None) or found in {part[-1].value for part in parts if part}


def test_every_order_of_the_partitions_gives_the_same_of_a_tie():
    tie = [Wrote(0, 100, "a"), Wrote(1, 100, "b"), Wrote(2, 100, "a")]

    assert {read(list(order)) for order in permutations(tie)} == {CLOSED}


def test_a_key_that_moved_between_partitions_is_counted_once_as_split():
    table: Table[str] = Table(CONSENTS)
    for partition, at in ((0, 1), (0, 2), (1, 3), (0, 4), (2, 5)):
        table.apply(KEY, Claim(partition, Appended(at, at), "a"))
    table.apply(("north", "p-2"), Claim(0, Appended(6, 6), "b"))

    assert table.split == 1


def test_a_change_touches_its_own_key_only():
    """However many keys there are: the mapping that readers hold is the same, and so is every other record in it."""
    table: Table[object] = Table(CONSENTS)
    for number in range(1000):
        table.apply(("north", f"p-{number}"), Claim(0, Appended(number, number), object()))
    records = dict(table.values)
    writes = Counting(table.values)
    table.values = writes

    table.apply(("north", "p-7"), Claim(0, Appended(2000, 2000), "new"))
    table.apply(("north", "p-8"), Claim(0, Appended(2001, 2001), None))

    assert writes.touched == [("north", "p-7"), ("north", "p-8")]
    assert {key: writes[key] for key in writes if key != ("north", "p-7")} == {
        key: value for key, value in records.items() if key[1] not in ("p-7", "p-8")
    }


class Counting(dict):
    """Says which keys were written, and takes nothing that goes through all of them."""

    def __init__(self, known: dict) -> None:
        super().__init__(known)
        self.touched: list[object] = []

    def __setitem__(self, key: object, value: object) -> None:
        self.touched.append(key)
        super().__setitem__(key, value)

    def pop(self, key: object, *default: object) -> object:
        self.touched.append(key)
        return super().pop(key, *default)

    def __or__(self, other: object):
        raise AssertionError("copied whole")

    copy = items = values = keys = __or__  # type: ignore[assignment]


def test_a_second_record_of_a_key_is_compared_without_keeping_the_first():
    claims = Claims((Claim(0, Appended(1, 1), "a"),))
    for at in range(2, 50):
        claims = claims.with_next(Claim(at % 3, Appended(at, at), at))

    assert claims.newest == (Claim(1, Appended(49, 49), 49),)
