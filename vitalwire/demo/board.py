"""All that the demo has seen so far, fed by several threads: what was sent, windows, what was set aside, the ledger."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from threading import Lock

from schemas.fixed_point import to_micro
from schemas.operation import State
from schemas.reading import SetAside
from schemas.topics import READINGS
from schemas.window import Window
from testbed.ward.sending import Measured, Sent
from vitalwire.demo.outcomes import Place

Latest = dict[str, dict[str, int]]
"""Patient → vital → value in millionths."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A picture of the board at one moment, for the screen."""

    messages: int
    measurements: int
    troubles: int
    latest: Latest
    charted: Latest
    published: Counter[str]
    windows: int
    duplicates: int
    aside: Counter[str]
    states: dict[str, dict[State, int]]


class Board:
    """What was seen. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._sent: dict[Place, Sent] = {}
        self._aside: list[SetAside] = []
        self._latest: Latest = defaultdict(dict)
        self._charted: Latest = defaultdict(dict)
        self._published: Counter[str] = Counter()
        self._windows: dict[tuple[str, int], Window] = {}
        self._measurements = self._troubles = 0
        self._states: dict[str, dict[State, int]] = {}

    def delivered(self, place: Place, sent: Sent) -> None:
        """A reading or frame of the ward stands in the log."""
        with self._lock:
            if sent.topic is READINGS:
                self._sent[place] = sent
                self._measurements += len(sent.fates)
            self._troubles += sent.trouble is not None
            for m in sent.truth:
                self._latest[m.patient_id][m.type] = m.value_micro

    def window(self, window: Window) -> None:
        """A window closed."""
        with self._lock:
            # a worker that starts again may give a window again: it is the same one
            if self._windows.setdefault((window.window_id, window.revision), window) is window and window.publish:
                self._published[window.patient_id] += 1
                self._charted[window.patient_id][window.type] = to_micro(window.median)

    def set_aside(self, aside: SetAside) -> None:
        """A reading or window was quarantined, or a reading was late."""
        with self._lock:
            self._aside.append(aside)

    def ledger(self, states: dict[str, dict[State, int]]) -> None:
        """How many operations stand in which state."""
        with self._lock:
            self._states = states

    def seen(self) -> Seen:
        """The board now."""
        with self._lock:
            return Seen(
                messages=len(self._sent),
                measurements=self._measurements,
                troubles=self._troubles,
                latest={patient: dict(values) for patient, values in self._latest.items()},
                charted={patient: dict(values) for patient, values in self._charted.items()},
                published=Counter(self._published),
                windows=len(self._windows),
                duplicates=sum(window.duplicates for window in self._windows.values()),
                aside=Counter(_name(aside) for aside in self._aside),
                states={endpoint: dict(counts) for endpoint, counts in self._states.items()},
            )

    def everything_sent(self) -> dict[Place, Sent]:
        """Every record of the ward by its place in the log."""
        with self._lock:
            return dict(self._sent)

    def everything_aside(self) -> list[SetAside]:
        """All that was set aside."""
        with self._lock:
            return list(self._aside)

    def every_window(self) -> list[Window]:
        """Every window that closed."""
        with self._lock:
            return list(self._windows.values())

    def truth(self) -> list[Measured]:
        """Every measurement that belongs in a window."""
        with self._lock:
            return [m for sent in self._sent.values() for m in sent.truth]


def _name(aside: SetAside) -> str:
    return str(aside.reason) if aside.kind == "reading" else f"{aside.reason} (window)"
