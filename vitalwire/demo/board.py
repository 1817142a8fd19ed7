"""What the demo has observed so far, fed by several threads: records sent, windows, quarantine and late records, the ledger."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from threading import Lock

from schemas.fixed_point import to_micro
from schemas.operation import State
from schemas.reading import QuarantineRecord
from schemas.topics import READINGS
from schemas.window import Window
from testbed.ward.sending import Measured, Sent
from vitalwire.demo.outcomes import LogPosition

Latest = dict[str, dict[str, int]]
"""Patient → vital → value in millionths."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A snapshot of the board, for the screen."""

    messages: int
    measurements: int
    anomalies: int
    latest: Latest
    charted: Latest
    published: Counter[str]
    windows: int
    duplicates: int
    quarantine: Counter[str]
    states: dict[str, dict[State, int]]


class Board:
    """Collects observations. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._sent: dict[LogPosition, Sent] = {}
        self._quarantine_records: list[QuarantineRecord] = []
        self._latest: Latest = defaultdict(dict)
        self._charted: Latest = defaultdict(dict)
        self._published: Counter[str] = Counter()
        self._windows: dict[tuple[str, int], Window] = {}
        self._measurements = self._anomalies = 0
        self._states: dict[str, dict[State, int]] = {}

    def delivered(self, position: LogPosition, sent: Sent) -> None:
        """Kafka has confirmed a record of the ward."""
        with self._lock:
            if sent.topic is READINGS:
                self._sent[position] = sent
                self._measurements += len(sent.outcomes)
            self._anomalies += sent.anomaly is not None
            for m in sent.truth:
                self._latest[m.patient_id][m.type] = m.value_micro

    def window(self, window: Window) -> None:
        """A window closed."""
        with self._lock:
            # a restarted worker may emit a window again: it is the same one
            if self._windows.setdefault((window.window_id, window.revision), window) is window and window.publish:
                self._published[window.patient_id] += 1
                self._charted[window.patient_id][window.type] = to_micro(window.median)

    def quarantined(self, record: QuarantineRecord) -> None:
        """A reading or window was quarantined, or a reading was late."""
        with self._lock:
            self._quarantine_records.append(record)

    def ledger(self, states: dict[str, dict[State, int]]) -> None:
        """The number of operations in each state, by endpoint."""
        with self._lock:
            self._states = states

    def seen(self) -> Seen:
        """A snapshot of the board."""
        with self._lock:
            return Seen(
                messages=len(self._sent),
                measurements=self._measurements,
                anomalies=self._anomalies,
                latest={patient: dict(values) for patient, values in self._latest.items()},
                charted={patient: dict(values) for patient, values in self._charted.items()},
                published=Counter(self._published),
                windows=len(self._windows),
                duplicates=sum(window.duplicates for window in self._windows.values()),
                quarantine=Counter(_name(record) for record in self._quarantine_records),
                states={endpoint: dict(counts) for endpoint, counts in self._states.items()},
            )

    def everything_sent(self) -> dict[LogPosition, Sent]:
        """Every record of the ward by its position in the log."""
        with self._lock:
            return dict(self._sent)

    def quarantine_records(self) -> list[QuarantineRecord]:
        """Every quarantine and late record."""
        with self._lock:
            return list(self._quarantine_records)

    def every_window(self) -> list[Window]:
        """Every window that closed."""
        with self._lock:
            return list(self._windows.values())

    def truth(self) -> list[Measured]:
        """Every measurement that belongs in a window."""
        with self._lock:
            return [m for sent in self._sent.values() for m in sent.truth]


def _name(record: QuarantineRecord) -> str:
    return str(record.reason) if record.kind == "reading" else f"{record.reason} (window)"
