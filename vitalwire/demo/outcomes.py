"""The outcome of every measurement that the ward sent, compared with the expected one.

Pure. Delivery reports give each record's partition and offset; quarantine and late records name them as their source.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from schemas.reading import QuarantineRecord
from schemas.reasons import Reason
from testbed.ward.sending import Sent

ORDINARY = "ordinary"
COUNTED = "counted"
"""In a window, or dropped there as a duplicate: neither late nor quarantined."""


class LogPosition(NamedTuple):
    """A record's position in the readings topic."""

    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class AnomalyOutcome:
    """One kind of anomaly: how many measurements had it, their expected outcome, and how many had that outcome."""

    anomaly: str
    expected: str
    sent: int
    as_expected: int
    otherwise: tuple[str, ...]


def anomaly_outcomes(sent: Mapping[LogPosition, Sent], records: Iterable[QuarantineRecord]) -> list[AnomalyOutcome]:
    """For each anomaly and expected outcome: sent and found. Ordinary readings come first."""
    found = {
        (r.source.partition, r.source.offset, r.source.index): str(r.reason) for r in records if r.kind == "reading"
    }
    total: Counter[tuple[str, str]] = Counter()
    right: Counter[tuple[str, str]] = Counter()
    wrong: dict[tuple[str, str], Counter[str]] = {}
    for position, message in sent.items():
        for index, outcome in enumerate(message.outcomes):
            row = (message.anomaly or ORDINARY, str(outcome))
            actual = found.pop((*position, index), COUNTED)
            total[row] += 1
            if actual == _visible(str(outcome)):
                right[row] += 1
            else:
                wrong.setdefault(row, Counter())[actual] += 1
    rows = [
        AnomalyOutcome(*row, total[row], right[row], tuple(f"{n} {what}" for what, n in wrong.get(row, {}).items()))
        for row in sorted(total, key=lambda row: (row[0] != ORDINARY, row))
    ]
    return rows + [AnomalyOutcome("not sent by the ward", reason, 0, 0, (f"1 {reason}",)) for reason in found.values()]


def all_as_expected(rows: Iterable[AnomalyOutcome]) -> bool:
    """Whether every measurement had its expected outcome."""
    return all(row.sent == row.as_expected and not row.otherwise for row in rows)


def _visible(outcome: str) -> str:
    """A duplicate and a window member look the same from outside: neither has a quarantine record."""
    return outcome if outcome in set(Reason) or outcome == "late" else COUNTED
