"""The ward's script: every message with its send time, anomalies included. Deterministic in seed and start.

Pure: the demo plays it in real time, tests read it at once.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from schemas.instants import epoch_ms
from schemas.topics import PAIRINGS
from testbed.ward.anomalies import ANOMALIES, Anomaly
from testbed.ward.plan import Ward
from testbed.ward.replay import Ordinary, replay
from testbed.ward.sending import Sent

MOVED = "moved_monitor"


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast the ward plays. `speed`: how many times faster than real time the intensive-care recordings are replayed.

    `window_s` and `grace_s` are those of the vitals' configuration: they say how old a reading must be to be late.
    """

    speed: float = 1440.0
    window_s: float = 5.0
    grace_s: float = 2.0
    first_anomaly_s: float = 1.0
    anomaly_every_s: float = 0.5

    @property
    def late_ms(self) -> int:
        """So old that the window is surely closed; even, as the replay's times are."""
        return round((self.window_s + self.grace_s + 1) * 500) * 2


def script(ward: Ward, pace: Pace, duration_s: float | None = None) -> Iterator[Sent]:
    """Everything the ward sends, in order of time, until `duration_s` after its start (without end if None)."""
    until = None if duration_s is None else ward.started_at + timedelta(seconds=duration_s)
    for sent in _in_order(_with_move(ward, _with_anomalies(ward, pace))):
        if until is not None and sent.at >= until:
            return
        yield sent


def _with_anomalies(ward: Ward, pace: Pace) -> Iterator[tuple[int, Sent]]:
    """(earliest send time of later messages, message). Each anomaly is injected at the next message that it applies to."""
    waiting = list(ANOMALIES)
    due_at = ward.started_at + timedelta(seconds=pace.first_anomaly_s)
    for ordinary in replay(ward, pace.speed):
        anomaly = _next(waiting, ordinary, ward, pace) if ordinary.sent.at >= due_at else None
        if anomaly is None:
            yield ordinary.time_ms, ordinary.sent
            continue
        waiting.remove(anomaly)
        waiting = waiting or list(ANOMALIES)
        due_at = ordinary.sent.at + timedelta(seconds=pace.anomaly_every_s)
        for sent in anomaly.alter(ordinary, pace.late_ms):
            yield ordinary.time_ms, sent if sent == ordinary.sent else replace(sent, anomaly=anomaly.name)


def _next(waiting: list[Anomaly], ordinary: Ordinary, ward: Ward, pace: Pace) -> Anomaly | None:
    """The first waiting anomaly that applies; a late reading must not be older than the demo itself."""
    started = epoch_ms(ward.started_at)
    for anomaly in waiting:
        if anomaly.name == "late" and ordinary.time_ms - pace.late_ms <= started:
            continue
        if anomaly.applies_to(ordinary):
            return anomaly
    return None


def _with_move(ward: Ward, messages: Iterator[tuple[int, Sent]]) -> Iterator[tuple[int, Sent]]:
    """Adds the new pairing of the monitor that changes patients."""
    pairing = ward.moved_pairing()
    key = f"{pairing.tenant_id}|{pairing.device_id}"
    value = pairing.model_dump_json(by_alias=True).encode()
    move = Sent(ward.moved_at, key, value, "moved", anomaly=MOVED, topic=PAIRINGS)
    moved_ms: int | None = epoch_ms(ward.moved_at)
    for not_before_ms, sent in messages:
        if moved_ms is not None and not_before_ms >= moved_ms:
            yield moved_ms, move
            moved_ms = None
        yield not_before_ms, sent


def _in_order(messages: Iterator[tuple[int, Sent]]) -> Iterator[Sent]:
    """Messages by send time; those of one instant keep their order."""
    held: list[tuple[datetime, int, Sent]] = []
    for number, (not_before_ms, sent) in enumerate(messages):
        heapq.heappush(held, (sent.at, number, sent))
        while held and epoch_ms(held[0][0]) < not_before_ms:
            yield heapq.heappop(held)[2]
