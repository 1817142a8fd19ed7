"""Which readings of windows about to close had been set aside by an earlier run: the later outcome names the earlier."""

from __future__ import annotations

from collections.abc import Sequence

from streams.telemetry.kernel.closing import Conflicts
from streams.telemetry.kernel.decode import Decoder
from streams.telemetry.kernel.replay import Place, Replay
from streams.telemetry.kernel.store import NOWHERE, Store
from streams.telemetry.kernel.vital_table import VitalTable

Superseded = dict[tuple[int, int, int], list[Place]]
"""(stream, patient, end of the window) → places of its readings that were set aside before."""


def superseded(due: Sequence[int], store: Store, decoder: Decoder, vitals: VitalTable, replay: Replay) -> Superseded:
    """To be asked before the streams are closed, while their rows are still theirs."""
    found: Superseded = {}
    for stream in due if replay.any_opened() else ():
        device, kind = divmod(stream, len(vitals.names))
        places = replay.opened_of(*decoder.devices.name(device), vitals.names[kind])
        width_ms = int(vitals.columns.window_ms[kind])
        row = int(store.streams.head[stream]) if places else NOWHERE
        while row != NOWHERE:
            place = int(store.rows.offset[row]), int(store.rows.place[row])
            if place in places:
                end_ms = int(store.rows.time_ms[row]) // width_ms * width_ms + width_ms
                found.setdefault((stream, int(store.rows.patient[row]), end_ms), []).append(place)
            row = int(store.rows.next_row[row])
    return found


def without_conflicts(found: Superseded, conflicts: Conflicts, count: int) -> Superseded:
    """A contradicted reading stays where it was: in quarantine."""
    if not found:
        return found
    contradicted = {(int(conflicts.offset[i]), int(conflicts.place[i])) for i in range(count)}
    return {key: sorted(place for place in places if place not in contradicted) for key, places in found.items()}
