"""The arrival clock of a partition: append times that never step back, also where a broker's clock does."""

from __future__ import annotations

import numpy as np

from streams.telemetry.kernel.compiled import I64, NEVER


class ArrivalClock:
    """The latest append time so far, row by row. A replay takes it up where the settled offset was reached."""

    def __init__(self) -> None:
        self.now_ms = NEVER
        self._settled, self._settled_ms = 0, NEVER

    def restore(self, settled: int, settled_ms: int) -> None:
        """From this offset on it was at least this late. What is before has been judged, by an earlier state of the clock."""
        self._settled, self._settled_ms = settled, settled_ms

    def advance(self, offsets: I64, appended_ms: I64) -> I64:
        """When each of these records arrived, and the clock set to the last of them. Not empty."""
        arrived_ms = np.maximum.accumulate(appended_ms)
        np.maximum(arrived_ms, self.now_ms, out=arrived_ms)
        if self._settled_ms != NEVER and offsets[-1] >= self._settled:
            again = arrived_ms[np.searchsorted(offsets, self._settled) :]
            np.maximum(again, self._settled_ms, out=again)
        self.now_ms = int(arrived_ms[-1])
        self.reach(int(offsets[-1]) + 1)
        return arrived_ms

    def reach(self, position: int) -> None:
        """What follows comes from this offset on."""
        if position >= self._settled:
            self.now_ms = max(self.now_ms, self._settled_ms)
            self._settled_ms = NEVER
