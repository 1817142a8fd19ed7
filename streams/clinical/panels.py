"""Joining the members of a panel (systolic and diastolic) of one device, patient and span into one result. Pure.

The telemetry role produces the members side by side and says in `companions` who else closed; the first is held until
the other comes. Whoever amends one member sends the other again, for a panel is always written whole.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime
from typing import NamedTuple

from schemas.vitals import PANELS
from schemas.window import Window
from streams.runtime.batches import Record

HOLD_MS = 60_000
_REMEMBERED = 20_000
_PANEL_OF = {member: panel for panel, members in PANELS.items() for member in members}

_Key = tuple[str, str, str, str, datetime, datetime]


class Arrived(NamedTuple):
    """A window and the record that brought it."""

    window: Window
    record: Record


Group = tuple[Arrived, ...]


class PanelJoiner:
    """The windows of one partition, in log order, grouped into results."""

    def __init__(self) -> None:
        self._held: dict[_Key, dict[str, Arrived]] = {}
        self._first_offset: dict[_Key, int] = {}
        self._joined: OrderedDict[_Key, dict[str, str]] = OrderedDict()

    def take(self, arrived: Arrived) -> Group | None:
        """The result that is complete with this window; None when it waits, or repeats a member already joined."""
        window = arrived.window
        panel = _PANEL_OF.get(window.type)
        if panel is None or not window.companions:
            return (arrived,)
        key = (window.tenant_id, window.patient_id, window.device_id, panel, window.start, window.end)
        if self._joined.get(key, {}).get(window.type) == window.content_hash:
            return None
        members = self._held.setdefault(key, {})
        members[window.type] = arrived
        self._first_offset.setdefault(key, arrived.record.offset)
        if {window.type, *window.companions} <= set(members):
            return self._release(key)
        return None

    def overdue(self, newest_ms: int | None) -> list[Group]:
        """Results whose other member did not come though the log went on for a minute; all, when it is silent (None)."""
        late = [
            key
            for key, members in self._held.items()
            if newest_ms is None or all(a.record.timestamp_ms + HOLD_MS <= newest_ms for a in members.values())
        ]
        return [self._release(key) for key in late]

    def earliest_held(self) -> int | None:
        """The offset that must not be passed while a member waits."""
        return min(self._first_offset.values(), default=None)

    def _release(self, key: _Key) -> Group:
        members = self._held.pop(key)
        del self._first_offset[key]
        self._joined[key] = {name: arrived.window.content_hash for name, arrived in members.items()}
        if len(self._joined) > _REMEMBERED:
            self._joined.popitem(last=False)
        return tuple(members[name] for name in PANELS[key[3]] if name in members)
