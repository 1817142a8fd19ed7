"""Which readings of windows about to close were quarantined by an earlier run: the window names them in `supersedes`."""

from __future__ import annotations

from collections.abc import Sequence

from streams.telemetry.kernel.closing import Conflicts
from streams.telemetry.kernel.closing_rules import window_end
from streams.telemetry.kernel.decode import Decoder
from streams.telemetry.kernel.replay import Coordinates, Replay
from streams.telemetry.kernel.row_pool import NO_ROW
from streams.telemetry.kernel.store import Store
from streams.telemetry.kernel.vital_table import VitalTable

Superseded = dict[tuple[int, int, int], list[Coordinates]]
"""(series, patient, end of the window) → its readings that an earlier run quarantined."""


def find_superseded(
    due: Sequence[int], store: Store, decoder: Decoder, vitals: VitalTable, replay: Replay
) -> Superseded:
    """Of these due series. Call it before they are closed, while their rows are still linked."""
    found: Superseded = {}
    for series in due if replay.has_reopened() else ():
        device, vital = divmod(series, len(vitals.names))
        reopened = replay.reopened_in(*decoder.devices.name(device), vitals.names[vital])
        width_ms = int(vitals.columns.window_ms[vital])
        row = int(store.series.head[series]) if reopened else NO_ROW
        while row != NO_ROW:
            coordinates = int(store.pool.offset[row]), int(store.pool.frame_index[row])
            if coordinates in reopened:
                end_ms = int(window_end(int(store.pool.time_ms[row]), width_ms))
                found.setdefault((series, int(store.pool.patient[row]), end_ms), []).append(coordinates)
            row = int(store.pool.next_row[row])
    return found


def without_conflicts(found: Superseded, conflicts: Conflicts, count: int) -> Superseded:
    """Without the readings that are contradicted: they stay in quarantine."""
    if not found:
        return found
    contradicted = {(int(conflicts.offset[i]), int(conflicts.frame_index[i])) for i in range(count)}
    return {window: sorted(set(readings) - contradicted) for window, readings in found.items()}
