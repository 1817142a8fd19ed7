"""The arrival clock of a partition: append times that never step back, even if a broker's clock does."""

from __future__ import annotations

import numpy as np

from streams.telemetry.kernel.compiled import I64, NEVER


class ArrivalClock:
    """The latest append time so far, row by row. A replay restores it where it reaches the settled offset."""

    def __init__(self) -> None:
        self.now_ms = NEVER
        self._settled, self._settled_ms = 0, NEVER

    def restore(self, settled: int, settled_ms: int) -> None:
        """From this offset on the clock is at least `settled_ms`. Records before it were dated by an earlier state of it."""
        self._settled, self._settled_ms = settled, settled_ms

    def advance(self, offsets: I64, appended_ms: I64) -> I64:
        """The arrival time of each of these records, of which there is at least one; the clock is set to the last of them."""
        # A running maximum, so that arrival times are monotone: silence and open time are differences of two of them.
        arrived_ms = np.maximum.accumulate(appended_ms)
        np.maximum(arrived_ms, self.now_ms, out=arrived_ms)
        if self._settled_ms != NEVER and offsets[-1] >= self._settled:
            # Only from the settled offset on: records before it must see the clock that they saw the first time.
            from_settled = arrived_ms[np.searchsorted(offsets, self._settled) :]
            np.maximum(from_settled, self._settled_ms, out=from_settled)
        self.now_ms = int(arrived_ms[-1])
        self.advance_to(int(offsets[-1]) + 1)
        return arrived_ms

    def advance_to(self, position: int) -> None:
        """The next record comes from this offset on."""
        if position >= self._settled:
            self.now_ms = max(self.now_ms, self._settled_ms)
            self._settled_ms = NEVER
