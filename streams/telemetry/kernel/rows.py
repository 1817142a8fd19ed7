"""Readings as columns: the one form in which they pass from the parsers through admission into the open rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from streams.telemetry.kernel.compiled import I16, I32, I64, NEVER

NO_CLAIM = -1
"""In `claim`: the reading names no patient itself."""
NO_SEQ = NEVER
"""In `seq`: the reading has no sequence number."""


class Rows(NamedTuple):
    """One element a reading, in log order: its record in the batch, its element in a frame, and what it measured.

    `pair` is a (vital, unit) pair of the vital table; `claim` the patient that the reading names itself.
    """

    batch_index: I32
    frame_index: I32
    device: I32
    claim: I32
    pair: I16
    value_micro: I64
    time_ms: I64
    seq: I64

    def first(self, count: int) -> Rows:
        """The first `count` rows. They share memory with these."""
        return Rows._make(column[:count] for column in self)


def empty_rows(size: int) -> Rows:
    """Room for so many rows."""
    batch_index, frame_index, device, claim = (np.zeros(size, np.int32) for _ in range(4))
    value, time, seq = (np.zeros(size, np.int64) for _ in range(3))
    return Rows(batch_index, frame_index, device, claim, np.zeros(size, np.int16), value, time, seq)


def merged(first: Rows, second: Rows) -> Rows:
    """Both, in log order. Each must be in log order, and no record may have rows in both."""
    order = np.argsort(np.concatenate((first.batch_index, second.batch_index)), kind="stable")
    pairs: Iterator[tuple[Any, Any]] = zip(first, second, strict=True)
    return Rows._make(np.concatenate(pair)[order] for pair in pairs)
