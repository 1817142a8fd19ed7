"""The ward's script: every message with the instant it is sent at, troubles included. Deterministic in seed and start.

Pure: the demo plays it against the clock, tests read it at once.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from schemas.instants import epoch_ms
from schemas.topics import PAIRINGS
from testbed.ward.anomalies import TROUBLES, Trouble
from testbed.ward.plan import Ward
from testbed.ward.replay import Ordinary, replay
from testbed.ward.sending import Sent

MOVED = "moved_monitor"


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the ward plays. `speed`: recorded hours of intensive care pass so many times faster than the clock.

    `window_s` and `grace_s` are those of the vitals' configuration: they say how old a reading must be to be late.
    """

    speed: float = 1440.0
    window_s: float = 5.0
    grace_s: float = 2.0
    first_trouble_s: float = 1.0
    trouble_every_s: float = 0.5

    @property
    def late_ms(self) -> int:
        """So old that the window is closed for certain; even, as the replay's times are."""
        return round((self.window_s + self.grace_s + 1) * 500) * 2


def script(ward: Ward, pace: Pace, duration_s: float | None = None) -> Iterator[Sent]:
    """Everything the ward sends, in order of time, until `duration_s` after its start (without end if None)."""
    until = None if duration_s is None else ward.started_at + timedelta(seconds=duration_s)
    for sent in _in_order(_with_move(ward, _troubled(ward, pace))):
        if until is not None and sent.at >= until:
            return
        yield sent


def _troubled(ward: Ward, pace: Pace) -> Iterator[tuple[int, Sent]]:
    """(no later message is sent before this, message): troubles take their turn as soon as a suitable message comes."""
    waiting = list(TROUBLES)
    due_at = ward.started_at + timedelta(seconds=pace.first_trouble_s)
    for ordinary in replay(ward, pace.speed):
        trouble = _next(waiting, ordinary, ward, pace) if ordinary.sent.at >= due_at else None
        if trouble is None:
            yield ordinary.time_ms, ordinary.sent
            continue
        waiting.remove(trouble)
        waiting = waiting or list(TROUBLES)
        due_at = ordinary.sent.at + timedelta(seconds=pace.trouble_every_s)
        for sent in trouble.alter(ordinary, pace.late_ms):
            yield ordinary.time_ms, sent if sent == ordinary.sent else replace(sent, trouble=trouble.name)


def _next(waiting: list[Trouble], ordinary: Ordinary, ward: Ward, pace: Pace) -> Trouble | None:
    """The first waiting trouble that suits; a late reading must not be older than the demo itself."""
    started = epoch_ms(ward.started_at)
    for trouble in waiting:
        if trouble.name == "late" and ordinary.time_ms - pace.late_ms <= started:
            continue
        if trouble.suits(ordinary):
            return trouble
    return None


def _with_move(ward: Ward, messages: Iterator[tuple[int, Sent]]) -> Iterator[tuple[int, Sent]]:
    """Puts in the new pairing of the monitor that changes patients."""
    pairing = ward.moved_pairing()
    key = f"{pairing.tenant_id}|{pairing.device_id}"
    value = pairing.model_dump_json(by_alias=True).encode()
    move = Sent(ward.moved_at, key, value, "moved", trouble=MOVED, topic=PAIRINGS)
    moved_ms: int | None = epoch_ms(ward.moved_at)
    for not_before_ms, sent in messages:
        if moved_ms is not None and not_before_ms >= moved_ms:
            yield moved_ms, move
            moved_ms = None
        yield not_before_ms, sent


def _in_order(messages: Iterator[tuple[int, Sent]]) -> Iterator[Sent]:
    """Messages by the time they are sent at; those of one instant stay as they came."""
    held: list[tuple[datetime, int, Sent]] = []
    for number, (not_before_ms, sent) in enumerate(messages):
        heapq.heappush(held, (sent.at, number, sent))
        while held and epoch_ms(held[0][0]) < not_before_ms:
            yield heapq.heappop(held)[2]
