"""Evicts names of which nothing was admitted, so that a sender who invents devices cannot fill a worker's memory.

A device stays once any reading of it was admitted: its clock and its closed windows decide about readings to come. A patient
stays while a known device's pairing or an open reading names them. Codes change, outcomes do not.
"""

from __future__ import annotations

import numpy as np

from streams.telemetry.kernel.decode import Decoder
from streams.telemetry.kernel.interning import Interner
from streams.telemetry.kernel.pairings import DevicePairings
from streams.telemetry.kernel.store import Store
from streams.telemetry.publishing import Published

MAX_UNUSED_NAMES = 10_000
"""An eviction looks at every name, so it runs only when at least so many, and half of all, may be unused."""


class NameEviction:
    """Runs between batches: every array that is indexed by a device or patient is renumbered at once."""

    def __init__(self) -> None:
        self._kept = 0

    def is_due(self, decoder: Decoder) -> bool:
        """Whether there are many more names than after the last eviction."""
        return max(len(decoder.devices), len(decoder.patients)) > 2 * self._kept + MAX_UNUSED_NAMES

    def evict(
        self, decoder: Decoder, store: Store, pairings: DevicePairings, published: dict[int, Published]
    ) -> dict[int, Published]:
        """Give every remaining device and patient a new code everywhere; returns `published` by the new codes."""
        devices = store.known_devices(len(decoder.devices))
        renumbered = {int(old): new for new, old in enumerate(devices)}
        decoder.devices.compact(devices)
        store.compact(devices)
        pairings.compact(devices)
        _evict_patients(decoder.patients, store, pairings)
        self._kept = max(len(decoder.devices), len(decoder.patients))
        return {
            renumbered[series // store.vitals] * store.vitals + series % store.vitals: last
            for series, last in published.items()
        }


def _evict_patients(patients: Interner, store: Store, pairings: DevicePairings) -> None:
    rows, of_rows = store.open_patients()
    used = np.unique(np.concatenate((pairings.intervals.patient, of_rows))).astype(np.int64)
    codes = np.full(len(patients), -1, np.int32)
    codes[used] = np.arange(len(used))
    patients.compact(used)
    pairings.renumber_patients(codes)
    store.pool.patient[rows] = codes[of_rows]
