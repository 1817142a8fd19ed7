"""What became of every measurement the ward sent, compared with what should have become of it.

Pure. The ward knows each record's place in the log from its delivery report; quarantine and late records name their source.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from schemas.reading import SetAside
from schemas.reasons import Reason
from testbed.ward.sending import Sent

ORDINARY = "ordinary"
COUNTED = "counted"
"""In a window, or dropped there as a repeat: what is neither set aside as late nor quarantined."""


class Place(NamedTuple):
    """Where a record stands in the log of readings."""

    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class TroubleOutcome:
    """One kind of trouble: how many measurements met it, what each should become, and how many became just that."""

    trouble: str
    expected: str
    sent: int
    as_expected: int
    otherwise: tuple[str, ...]


def outcomes(sent: Mapping[Place, Sent], aside: Iterable[SetAside]) -> list[TroubleOutcome]:
    """For each trouble and expected fate: sent and found. Ordinary readings come first."""
    found = {(a.source.partition, a.source.offset, a.source.index): str(a.reason) for a in aside if a.kind == "reading"}
    total: Counter[tuple[str, str]] = Counter()
    right: Counter[tuple[str, str]] = Counter()
    wrong: dict[tuple[str, str], Counter[str]] = {}
    for place, message in sent.items():
        for index, fate in enumerate(message.fates):
            row = (message.trouble or ORDINARY, str(fate))
            became = found.pop((*place, index), COUNTED)
            total[row] += 1
            if became == _visible(str(fate)):
                right[row] += 1
            else:
                wrong.setdefault(row, Counter())[became] += 1
    rows = [
        TroubleOutcome(*row, total[row], right[row], tuple(f"{n} {what}" for what, n in wrong.get(row, {}).items()))
        for row in sorted(total, key=lambda row: (row[0] != ORDINARY, row))
    ]
    return rows + [TroubleOutcome("not sent by the ward", reason, 0, 0, (f"1 {reason}",)) for reason in found.values()]


def all_as_expected(rows: Iterable[TroubleOutcome]) -> bool:
    """Whether every measurement became what it should."""
    return all(row.sent == row.as_expected and not row.otherwise for row in rows)


def quarantine_counts(aside: Iterable[SetAside]) -> Counter[str]:
    """How many readings and windows were set aside, by reason."""
    return Counter(str(a.reason) for a in aside)


def _visible(fate: str) -> str:
    """A repeat and a window member look the same from outside: neither is set aside."""
    return fate if fate in set(Reason) or fate == "late" else COUNTED
