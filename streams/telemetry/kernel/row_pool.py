"""The pool of open rows: every reading in an open window is one row, linked to its series and reused once it is closed."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from streams.telemetry.kernel.compiled import I32, I64, U8, compiled

NO_ROW = -1
"""End of a linked list of rows."""
NO_OPEN_ROW = np.iinfo(np.int64).max
"""The offset of a free row; the oldest end and arrival of a series without open rows. Greater than any real one."""
USED, FREE, OPEN = 0, 1, 2
"""Counters: rows ever used, rows in the free list, rows in open windows."""


class OpenRows(NamedTuple):
    """Columns of the pool; the rows of each series are linked from its head, newest first.

    A row below the counter USED is linked to exactly one series, or it is in `free` and its offset is NO_OPEN_ROW. The
    reading of a `claimed` row named the patient itself.
    """

    time_ms: I64
    value_micro: I64
    seq: I64
    offset: I64
    arrival_ms: I64
    frame_index: I32
    patient: I32
    claimed: U8
    next_row: I32
    free: I32
    counters: I64


@compiled
def acquire(pool: OpenRows) -> int:
    """A row for one more reading. It must be linked to a series at once; `Store.reserve` has made room for it."""
    pool.counters[OPEN] += 1
    if pool.counters[FREE] > 0:
        pool.counters[FREE] -= 1
        return int(pool.free[pool.counters[FREE]])
    row = pool.counters[USED]
    pool.counters[USED] += 1
    return int(row)


@compiled
def release(row: int, pool: OpenRows) -> None:
    """Give the row back. It must be unlinked already, and no longer be read: the next reading overwrites it."""
    pool.offset[row] = NO_OPEN_ROW  # so that the earliest open offset is a plain minimum over the column
    pool.free[pool.counters[FREE]] = row
    pool.counters[FREE] += 1
    pool.counters[OPEN] -= 1
