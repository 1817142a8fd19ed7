"""Whose device it was, as columns: for each device code its intervals of pairing, joined as of the measurement time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from schemas.reference import Pairing
from streams.kernel.compiled import I32, I64
from streams.kernel.interning import Interner

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FOREVER_MS = np.iinfo(np.int64).max


class Intervals(NamedTuple):
    """Intervals of device `d` are at [first[d], first[d + 1]): half-open spans of epoch milliseconds, and the patient."""

    first: I64
    since_ms: I64
    until_ms: I64
    patient: I32


def intervals(
    pairings: Mapping[tuple[str, str], Pairing], devices: Interner, patients: Interner, known: Intervals | None = None
) -> Intervals:
    """The pairings of the devices seen so far, by device code; `known` are those of the first devices, still true."""
    begin = len(known.first) - 1 if known else 0
    first = [int(known.first[-1]) if known else 0]
    since: list[int] = []
    until: list[int] = []
    patient: list[int] = []
    for code in range(begin, len(devices)):
        pairing = pairings.get(devices.name(code))
        for span in pairing.intervals if pairing else ():
            since.append(epoch_ms(span.since))
            until.append(_FOREVER_MS if span.until is None else epoch_ms(span.until))
            patient.append(patients.code("", span.patient_id))
        first.append(first[0] + len(since))
    new = Intervals(
        np.array(first, np.int64), np.array(since, np.int64), np.array(until, np.int64), np.array(patient, np.int32)
    )
    if known is None:
        return new
    return Intervals(
        np.concatenate((known.first[:-1], new.first)),
        np.concatenate((known.since_ms, new.since_ms)),
        np.concatenate((known.until_ms, new.until_ms)),
        np.concatenate((known.patient, new.patient)),
    )


def epoch_ms(instant: datetime) -> int:
    """Milliseconds since 1970, exact, rounded down."""
    delta = instant - _EPOCH
    return delta.days * 86_400_000 + delta.seconds * 1000 + delta.microseconds // 1000
