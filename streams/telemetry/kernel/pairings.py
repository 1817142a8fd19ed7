"""Which patient a device was paired with, as columns: for each device code its intervals, looked up by measurement time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from schemas.instants import epoch_ms
from schemas.reference import Pairing
from streams.telemetry.kernel.compiled import I32, I64, compiled
from streams.telemetry.kernel.interning import Interner

_FOREVER_MS = np.iinfo(np.int64).max
UNPAIRED_PATIENT, AMBIGUOUS_PATIENT = -1, -2
"""Codes in place of a patient: the device was paired with no patient, or with more than one."""


class Intervals(NamedTuple):
    """Intervals of device `d` are at [first[d], first[d + 1]): half-open spans of epoch milliseconds, and the patient."""

    first: I64
    since_ms: I64
    until_ms: I64
    patient: I32


@compiled
def patient_at(pairings: Intervals, device: int, time_ms: int) -> int:
    """The one patient paired with the device at this instant; UNPAIRED_PATIENT, or AMBIGUOUS_PATIENT."""
    found = UNPAIRED_PATIENT
    for i in range(pairings.first[device], pairings.first[device + 1]):
        if pairings.since_ms[i] <= time_ms < pairings.until_ms[i]:
            if found != UNPAIRED_PATIENT and found != pairings.patient[i]:
                return AMBIGUOUS_PATIENT
            found = int(pairings.patient[i])
    return found


class DevicePairings:
    """The intervals of the devices seen so far, by the newest pairings known."""

    def __init__(self) -> None:
        none = np.zeros(0, np.int64)
        self.intervals = Intervals(np.zeros(1, np.int64), none, none, np.zeros(0, np.int32))
        self.corrected: set[int] = set()
        """Devices whose pairing has changed since they were seen. They are removed once their open readings are reassigned."""
        self._known: list[Pairing | None] = []
        self._version: int | None = None

    def learn(
        self, pairings: Mapping[tuple[str, str], Pairing], version: int, devices: Interner, patients: Interner
    ) -> Intervals:
        """Use these pairings from now on; they can have changed only if `version` has."""
        seen = len(self._known)
        changed = []
        if version != self._version:
            changed = [code for code in range(seen) if pairings.get(devices.name(code)) is not self._known[code]]
            self.corrected.update(changed)
            self._version = version
        new = [*changed, *range(seen, len(devices))]
        if new:
            self._known.extend([None] * (len(devices) - seen))
            for code in new:
                self._known[code] = pairings.get(devices.name(code))
            self.intervals = self._replaced(new, patients)
        return self.intervals

    def compact(self, devices: I64) -> None:
        """Drop all other devices; these get the codes from 0 upwards."""
        old = self.intervals
        counts = np.diff(old.first)[devices]
        first = np.zeros(len(devices) + 1, np.int64)
        np.cumsum(counts, out=first[1:])
        at = np.arange(first[-1]) + np.repeat(old.first[devices] - first[:-1], counts)
        self.intervals = Intervals(first, old.since_ms[at], old.until_ms[at], old.patient[at])
        self._known = [self._known[code] for code in devices.tolist()]
        self.corrected = {new for new, code in enumerate(devices.tolist()) if code in self.corrected}

    def renumber_patients(self, codes: I32) -> None:
        """Patients have new codes: `codes` is indexed by the old ones."""
        self.intervals = self.intervals._replace(patient=codes[self.intervals.patient])

    def _replaced(self, codes: Sequence[int], patients: Interner) -> Intervals:
        """The intervals, with those of these devices replaced."""
        spans = [(code, span) for code in codes if (known := self._known[code]) for span in known.intervals]
        since = [epoch_ms(span.since) for _, span in spans]
        until = [_FOREVER_MS if span.until is None else epoch_ms(span.until) for _, span in spans]
        patient = [patients.code("", span.patient_id) for _, span in spans]
        old = self.intervals
        kept = np.repeat(np.arange(len(old.first) - 1), np.diff(old.first))
        stays = ~np.isin(kept, np.array(codes, np.int64))
        owner = np.concatenate((kept[stays], np.array([code for code, _ in spans], np.int64)))
        order = np.argsort(owner, kind="stable")
        first = np.zeros(len(self._known) + 1, np.int64)
        np.cumsum(np.bincount(owner, minlength=len(self._known)), out=first[1:])
        return Intervals(
            first,
            np.concatenate((old.since_ms[stays], np.array(since, np.int64)))[order],
            np.concatenate((old.until_ms[stays], np.array(until, np.int64)))[order],
            np.concatenate((old.patient[stays], np.array(patient, np.int32)))[order],
        )
