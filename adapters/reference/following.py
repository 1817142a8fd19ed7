"""Follows the reference topics with a thread: read to their end before use, read again from the start when they changed.

Fails closed: what was read counts only while the broker says, again and again, that these are still the topics and that
nothing in them is unread.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import closing
from threading import Condition, Event, Thread
from time import monotonic
from typing import Any, NamedTuple

from confluent_kafka import KafkaException

from adapters.reference.broker import Partition, ReferenceBroker
from adapters.reference.reading import Reading
from adapters.reference.tables import FromFhir, Key, Tables, Understand
from schemas.errors import RetryLater
from schemas.ports.observer import Observer
from schemas.reference import Consent, Pairing, PatientRecord
from schemas.topics import CONSENTS, PAIRINGS, PATIENTS

_log = logging.getLogger(__name__)
_POLL_S = 0.05
_VERIFY_EVERY_S = 1.0
_PAUSE_S = 0.2
_GONE_AFTER_S = 15.0
_UNKNOWN = "its topics were not read to their end; is the broker there?"
_AWAY = (KafkaException, TimeoutError)


class _Asked(NamedTuple):
    """Where the topics ended when the broker was asked."""

    at: float
    ends: Mapping[Partition, int]


class KafkaReference:
    """`schemas.ports.ReferenceData`. Reads are plain dictionary look-ups and may come from any thread."""

    def __init__(
        self,
        bootstrap: str,
        *,
        consent_from_fhir: FromFhir,
        understand: Understand,
        observer: Observer,
        prefix: str = "",
        stale_after_s: float = _GONE_AFTER_S,
        extra: dict[str, Any] | None = None,
    ) -> None:
        self._topics = [spec.prefixed(prefix) for spec in (PAIRINGS, PATIENTS, CONSENTS)]
        self._prefix = prefix
        self._consent_from_fhir = consent_from_fhir
        self._understand = understand
        self._observer = observer
        self._stale_after_s = stale_after_s
        self._settings = {
            "bootstrap.servers": bootstrap,
            "reconnect.backoff.ms": 250,
            "reconnect.backoff.max.ms": 2_000,
        } | (extra or {})
        self._tables = self._empty()
        self._version = 0
        self._pairings_version = 0
        self._followed_at: float | None = None
        self._sound_at = monotonic()
        self._asked: _Asked | None = None
        self._followed = Condition()
        self._trouble: str | None = None
        self._stopped = Event()
        self._thread = Thread(target=self._run, name="reference", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def wait_until_current(self, timeout_s: float) -> None:
        """Return when the end of every topic was reached; RetryLater when that takes too long."""
        with self._followed:
            if not self._followed.wait_for(self.is_current, timeout_s):
                raise RetryLater(f"reference data did not become current in time: {self._trouble or _UNKNOWN}")

    def close(self) -> None:
        """Stop following."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def version(self) -> int:
        """Grows with every change of a pairing or a patient's record; read it before the records."""
        return self._version

    def pairings_version(self) -> int:
        """Grows with every change of any pairing; read it before `pairings`."""
        return self._pairings_version

    def pairings(self) -> Mapping[Key, Pairing]:
        """(tenant_id, device_id) → history. Live; after a new reading another: ask for it each time."""
        return self._tables.pairings.values

    def patients(self) -> Mapping[Key, PatientRecord]:
        """(tenant_id, patient_id) → record. Live, as `pairings` is."""
        return self._tables.patients.values

    def pairing(self, tenant_id: str, device_id: str) -> Pairing | None:
        """The device's history, or None: not paired."""
        return self._tables.pairings.values.get((tenant_id, device_id))

    def patient(self, tenant_id: str, patient_id: str) -> PatientRecord | None:
        """The patient's record, or None."""
        return self._tables.patients.values.get((tenant_id, patient_id))

    def consent(self, tenant_id: str, patient_id: str) -> Consent | None:
        """The patient's consent, or None: no record is no consent."""
        return self._tables.consents.values.get((tenant_id, patient_id))

    def consent_in_doubt(self, tenant_id: str, patient_id: str) -> bool:
        """Whether the patient's key is closed."""
        return self._tables.consents.is_closed((tenant_id, patient_id))

    def is_current(self) -> bool:
        """Whether the broker lately said that these are the topics and that nothing in them is unread."""
        followed_at = self._followed_at
        return followed_at is not None and monotonic() - followed_at < self._stale_after_s

    def _run(self) -> None:
        broker = ReferenceBroker(self._settings)
        while not self._stopped.is_set():
            try:
                self._read(broker)
            except _AWAY as away:
                self._not_current(_said(away))
            except Exception as failure:
                self._not_current(f"reading failed ({type(failure).__name__})")
            self._tell()
            self._stopped.wait(_PAUSE_S)
        self._followed_at = None
        self._tell()

    def _empty(self) -> Tables:
        return Tables(self._prefix, self._consent_from_fhir, self._observer, self._understand)

    def _read(self, broker: ReferenceBroker) -> None:
        """One reading from the first record on, for as long as it holds."""
        layout = broker.layout(self._topics)
        missing = [topic for topic in self._topics if topic not in layout]
        if missing:
            self._not_current(f"there is no topic {missing[0]}; create it with: vitalwire topics")
            return
        with closing(Reading(layout, self._empty(), self._settings)) as reading:
            self._asked, self._sound_at = None, monotonic()
            verify_at = self._sound_at
            while not self._stopped.is_set():
                self._take(reading)
                if reading.place_lost:
                    self._not_current("a log no longer holds what was read of it; all is read again")
                    return
                if monotonic() >= verify_at:
                    if not self._still_these(reading, broker):
                        return
                    verify_at = monotonic() + (_VERIFY_EVERY_S if self._followed_at else _PAUSE_S)
                self._conclude(reading)

    def _take(self, reading: Reading) -> None:
        changed, tables = reading.take(_POLL_S), reading.tables
        if tables is self._tables and (tables.pairings in changed or tables.patients in changed):
            self._changed(pairings=tables.pairings in changed)

    def _changed(self, *, pairings: bool) -> None:
        """Told after the change, so that nobody keeps what was before under the new number."""
        self._pairings_version += pairings
        self._version += 1

    def _still_these(self, reading: Reading, broker: ReferenceBroker) -> bool:
        """Ask the broker for the topics, and for their ends. False when all must be read again."""
        asked_at = monotonic()
        stale = asked_at - self._sound_at > self._stale_after_s
        if stale:  # the last question may never be answered: a failover can cut off an end that was seen
            self._asked = None
        trouble: str | None = None
        try:
            if broker.layout(self._topics) != reading.layout:
                self._not_current("a topic got partitions, was made anew or is gone; all is read again")
                return False
            if not reading.was_at_each_end:
                trouble = "the topics are not read to their end yet"
            else:
                self._require_dates(reading, broker)
                # An unanswered question stands: under steady writing the end of now is reached only when it has moved on.
                self._asked = self._asked or _Asked(asked_at, broker.ends(reading.partitions))
                if late := reading.behind(self._asked.ends):
                    trouble = f"{late.topic} partition {late.number} is not read to its end; is a transaction open?"
        except _AWAY as away:
            trouble = _said(away)
        if stale and trouble:
            self._warn(trouble)
        self._tell()
        return True

    def _require_dates(self, reading: Reading, broker: ReferenceBroker) -> None:
        """Records that no broker dated are from before the topic was corrected, or the topic is wrong."""
        undated = reading.tables.undated
        if undated and (wrong := broker.undated(undated)):
            self._not_current(f"{min(wrong)} keeps its producers' times, not LogAppendTime; see: vitalwire topics")
        else:
            undated.clear()

    def _conclude(self, reading: Reading) -> None:
        """When everything is read that was there when the broker was asked, the data is of that time."""
        if self._asked is None or reading.tables.undated or reading.behind(self._asked.ends):
            return
        if reading.tables is not self._tables:
            self._tables = reading.tables
            self._changed(pairings=True)
        if self._trouble:
            _log.info("reference data is current")
        self._trouble = None
        with self._followed:
            self._followed_at = self._sound_at = self._asked.at
            self._followed.notify_all()
        self._asked = None
        self._tell()

    def _not_current(self, why: str) -> None:
        self._followed_at = None
        self._warn(why)

    def _warn(self, trouble: str) -> None:
        if trouble != self._trouble:
            _log.warning("reference data is not current: %s", trouble)
        self._trouble = trouble

    def _tell(self) -> None:
        self._observer.gauge("reference_current", 1 if self.is_current() else 0)
        for table in self._tables.all:
            name = table.spec.name
            self._observer.gauge("reference_records", len(table.values), topic=name)
            self._observer.gauge("reference_closed_keys", len(table.in_doubt), topic=name, cause="in_doubt")
            self._observer.gauge("reference_closed_keys", len(table.unreadable), topic=name, cause="unreadable")
            self._observer.gauge("reference_split_keys", table.split, topic=name)


def _said(away: Exception) -> str:
    code = away.args[0].name() if isinstance(away, KafkaException) else "_TIMED_OUT"
    return f"the broker refuses or does not answer ({code})"
