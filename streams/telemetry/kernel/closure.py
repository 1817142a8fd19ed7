"""When a window is closed: by its device's clock, by silence, or because it was open for its longest.

Each is told row by row, by measurement times and by the arrival clock. A closing pass only comes to the same earlier.
"""

from __future__ import annotations

from streams.telemetry.kernel.compiled import NEVER, compiled
from streams.telemetry.kernel.store import NOWHERE, SETTLED, OpenRows, Streams
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
def close_idle(device: int, silence_ms: int, streams: Streams, vitals: VitalColumns) -> None:
    """A device was silent this long: its streams whose idle time that exceeds are closed through what they hold.

    Both halves of a panel close together, so that they are charted together.
    """
    count = vitals.window_ms.shape[0]
    for vital in range(count):
        if silence_ms < vitals.idle_ms[vital]:
            continue
        latest = streams.latest[device * count + vital]
        sibling = vitals.sibling[vital]
        if sibling >= 0:
            latest = max(latest, streams.latest[device * count + sibling])
        if latest != NEVER:
            end = window_end(latest, vitals.window_ms[vital])
            stream = device * count + vital
            streams.closed_through[stream] = max(streams.closed_through[stream], end)


@compiled
def _long_open_through(
    stream: int, arrival_ms: int, longest_ms: int, width_ms: int, streams: Streams, rows: OpenRows
) -> int:
    """End of the last window of the stream that has been open for so long; NEVER when there is none.

    Afterwards the stream knows again which of its open rows is the oldest.
    """
    found, row = NEVER, streams.head[stream]
    while row != NOWHERE:
        if arrival_ms - rows.arrival_ms[row] >= longest_ms:
            found = max(found, window_end(rows.time_ms[row], width_ms))
        row = rows.next_row[row]
    through, oldest, row = max(found, streams.closed_through[stream]), SETTLED, streams.head[stream]
    while row != NOWHERE:
        if window_end(rows.time_ms[row], width_ms) > through:
            oldest = min(oldest, rows.arrival_ms[row])
        row = rows.next_row[row]
    streams.oldest_arrival[stream] = oldest
    return found


@compiled
def close_long_open(
    device: int, vital: int, arrival_ms: int, streams: Streams, rows: OpenRows, vitals: VitalColumns
) -> None:
    """Close the stream's windows that were open for their longest, as where a device's clock stands.

    Like silence it is told by the arrival of rows, and both halves of a panel close together. It walks through all their
    rows: ask only where the oldest of them arrived so long ago.
    """
    count = vitals.window_ms.shape[0]
    stream, sibling = device * count + vital, vitals.sibling[vital]
    longest, width = vitals.longest_open_ms[vital], vitals.window_ms[vital]
    through = _long_open_through(stream, arrival_ms, longest, width, streams, rows)
    if sibling >= 0:
        other = device * count + sibling
        through = max(through, _long_open_through(other, arrival_ms, longest, width, streams, rows))
        streams.closed_through[other] = max(streams.closed_through[other], through)
    streams.closed_through[stream] = max(streams.closed_through[stream], through)
