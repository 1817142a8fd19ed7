"""Names of which nothing came are forgotten: whoever invents devices cannot fill a worker's memory.

A device stays while anything of it was ever taken: its clock and what is closed of it decide about what comes. Patients stay
while a known device's pairing or an open reading names them. Codes change, outcomes do not.
"""

from __future__ import annotations

import numpy as np

from streams.telemetry.kernel.decode import Decoder
from streams.telemetry.kernel.interning import Interner
from streams.telemetry.kernel.pairings import DevicePairings
from streams.telemetry.kernel.store import Store
from streams.telemetry.publishing import Published

MOST_UNUSED = 10_000
"""Forgetting costs a look at every name: it is worth it when at least so many, and half of all, may be unused."""


class Forgetting:
    """Forgets between batches, when there are too many names."""

    def __init__(self) -> None:
        self._kept = 0

    def needed(self, decoder: Decoder) -> bool:
        """Whether there are many more names than were last kept."""
        return max(len(decoder.devices), len(decoder.patients)) > 2 * self._kept + MOST_UNUSED

    def forget(
        self, decoder: Decoder, store: Store, pairings: DevicePairings, published: dict[int, Published]
    ) -> dict[int, Published]:
        """Give every remaining device and patient a new code everywhere; gives what was published by the new codes."""
        devices = store.accepted(len(decoder.devices))
        renamed = {int(old): new for new, old in enumerate(devices)}
        decoder.devices.keep(devices)
        store.keep(devices)
        pairings.keep(devices)
        _forget_patients(decoder.patients, store, pairings)
        self._kept = max(len(decoder.devices), len(decoder.patients))
        return {
            renamed[stream // store.vitals] * store.vitals + stream % store.vitals: last
            for stream, last in published.items()
        }


def _forget_patients(patients: Interner, store: Store, pairings: DevicePairings) -> None:
    rows, of_rows = store.open_patients()
    used = np.unique(np.concatenate((pairings.intervals.patient, of_rows))).astype(np.int64)
    codes = np.full(len(patients), -1, np.int32)
    codes[used] = np.arange(len(used))
    patients.keep(used)
    pairings.rename_patients(codes)
    store.rows.patient[rows] = codes[of_rows]
