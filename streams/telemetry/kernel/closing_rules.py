"""When a window is closed: by its device's clock, by silence, or because it was open for its longest.

Each rule depends on rows alone: on their measurement times and the arrival clock. A closing pass applies the same rules
earlier, to devices that send nothing, and can never close a window that the next row would have found open.
"""

from __future__ import annotations

from streams.telemetry.kernel.compiled import NEVER, compiled
from streams.telemetry.kernel.row_pool import NO_OPEN_ROW, NO_ROW, OpenRows
from streams.telemetry.kernel.store import SeriesState
from streams.telemetry.kernel.vital_table import VitalColumns


@compiled
def window_end(time_ms: int, width_ms: int) -> int:
    """End of the window, aligned to the epoch, that holds this instant."""
    return time_ms // width_ms * width_ms + width_ms


@compiled
def closed_by_watermark(watermark_ms: int, grace_ms: int, width_ms: int) -> int:
    """Windows ending at or before this are closed by event time alone."""
    if watermark_ms == NEVER:
        return NEVER
    return (watermark_ms - grace_ms) // width_ms * width_ms


@compiled
def close_idle(device: int, silence_ms: int, state: SeriesState, vitals: VitalColumns) -> None:
    """After this long a silence, close the device's series whose idle time is over, through all that they hold.

    Both halves of a panel close together, so that they are charted together.
    """
    count = vitals.window_ms.shape[0]
    for vital in range(count):
        if silence_ms < vitals.idle_ms[vital]:
            continue
        latest = state.latest[device * count + vital]
        sibling = vitals.sibling[vital]
        if sibling >= 0:
            latest = max(latest, state.latest[device * count + sibling])
        if latest != NEVER:
            end = window_end(latest, vitals.window_ms[vital])
            series = device * count + vital
            state.closed_through[series] = max(state.closed_through[series], end)


@compiled
def _long_open_through(
    series: int, arrival_ms: int, longest_ms: int, width_ms: int, state: SeriesState, pool: OpenRows
) -> int:
    """End of the last window of the series that has been open for so long; NEVER when there is none.

    Also sets the series' `oldest_arrival` to that of the rows that stay open.
    """
    found, row = NEVER, state.head[series]
    while row != NO_ROW:
        if arrival_ms - pool.arrival_ms[row] >= longest_ms:
            found = max(found, window_end(pool.time_ms[row], width_ms))
        row = pool.next_row[row]
    # Rows that are closed now but not yet unlinked must not count: they would trigger this walk again for every row.
    through, oldest, row = max(found, state.closed_through[series]), NO_OPEN_ROW, state.head[series]
    while row != NO_ROW:
        if window_end(pool.time_ms[row], width_ms) > through:
            oldest = min(oldest, pool.arrival_ms[row])
        row = pool.next_row[row]
    state.oldest_arrival[series] = oldest
    return found


@compiled
def close_long_open(
    device: int, vital: int, arrival_ms: int, state: SeriesState, pool: OpenRows, vitals: VitalColumns
) -> None:
    """Close the series' windows that were open for their longest, as when a device's clock has stopped.

    Both halves of a panel close together. This walks through all their rows: call it only when the oldest of them arrived
    that long ago.
    """
    count = vitals.window_ms.shape[0]
    series, sibling = device * count + vital, vitals.sibling[vital]
    longest, width = vitals.longest_open_ms[vital], vitals.window_ms[vital]
    through = _long_open_through(series, arrival_ms, longest, width, state, pool)
    if sibling >= 0:
        other = device * count + sibling
        through = max(through, _long_open_through(other, arrival_ms, longest, width, state, pool))
        state.closed_through[other] = max(state.closed_through[other], through)
    state.closed_through[series] = max(state.closed_through[series], through)
