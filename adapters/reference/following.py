"""Follows the reference topics in a thread: reads them to their end before use, and from their start again after a change.

Fails closed: the data is current only while the broker confirms, every second, that the topics are unchanged and that
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
_UNKNOWN = "its topics were not read to their end; check that the broker is available"
_UNAVAILABLE = (KafkaException, TimeoutError)


class _EndOffsets(NamedTuple):
    """The end offsets of the topics, and when they were requested."""

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
        self._end_offsets: _EndOffsets | None = None
        self._followed = Condition()
        self._problem: str | None = None
        self._stopped = Event()
        self._thread = Thread(target=self._run, name="reference", daemon=True)

    def start(self) -> None:
        """Start reading."""
        self._thread.start()

    def wait_until_current(self, timeout_s: float) -> None:
        """Return when every topic has been read to its end; RetryLater after `timeout_s`."""
        with self._followed:
            if not self._followed.wait_for(self.is_current, timeout_s):
                raise RetryLater(f"reference data did not become current in time: {self._problem or _UNKNOWN}")

    def close(self) -> None:
        """Stop following."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def version(self) -> int:
        """Increases with every change of a pairing or patient record; read it before the records."""
        return self._version

    def pairings_version(self) -> int:
        """Increases with every change of a pairing; read it before `pairings`."""
        return self._pairings_version

    def pairings(self) -> Mapping[Key, Pairing]:
        """(tenant_id, device_id) → history. Live, and replaced when the topics are read again: call this method each time."""
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
        """Whether the patient's key is blocked."""
        return self._tables.consents.is_blocked((tenant_id, patient_id))

    def is_current(self) -> bool:
        """Whether the broker recently confirmed that the topics are unchanged and that nothing in them is unread."""
        followed_at = self._followed_at
        return followed_at is not None and monotonic() - followed_at < self._stale_after_s

    def _run(self) -> None:
        broker = ReferenceBroker(self._settings)
        while not self._stopped.is_set():
            try:
                self._read(broker)
            except _UNAVAILABLE as error:
                self._not_current(_broker_error(error))
            except Exception as failure:
                self._not_current(f"reading failed ({type(failure).__name__})")
            self._report_state()
            self._stopped.wait(_PAUSE_S)
        self._followed_at = None
        self._report_state()

    def _empty(self) -> Tables:
        return Tables(self._prefix, self._consent_from_fhir, self._observer, self._understand)

    def _read(self, broker: ReferenceBroker) -> None:
        """Read from the first record, and follow the topics until they change."""
        layout = broker.layout(self._topics)
        missing = [topic for topic in self._topics if topic not in layout]
        if missing:
            self._not_current(f"topic {missing[0]} does not exist; create it with: vitalwire topics")
            return
        with closing(Reading(layout, self._empty(), self._settings)) as reading:
            self._end_offsets, self._sound_at = None, monotonic()
            verify_at = self._sound_at
            while not self._stopped.is_set():
                self._read_next(reading)
                if reading.place_lost:
                    self._not_current(
                        "a log no longer contains records that were read from it; reading all topics again"
                    )
                    return
                if monotonic() >= verify_at:
                    if not self._still_these(reading, broker):
                        return
                    verify_at = monotonic() + (_VERIFY_EVERY_S if self._followed_at else _PAUSE_S)
                self._conclude(reading)

    def _read_next(self, reading: Reading) -> None:
        changed, tables = reading.read(_POLL_S), reading.tables
        if tables is self._tables and (tables.pairings in changed or tables.patients in changed):
            self._changed(pairings=tables.pairings in changed)

    def _changed(self, *, pairings: bool) -> None:
        """Called after the change, so that no reader caches the old records under the new version."""
        self._pairings_version += pairings
        self._version += 1

    def _still_these(self, reading: Reading, broker: ReferenceBroker) -> bool:
        """Ask the broker for the topics and their end offsets. False if they must be read again from the start."""
        asked_at = monotonic()
        stale = asked_at - self._sound_at > self._stale_after_s
        if stale:  # these ends may never be reached: a failover can truncate a log below an end that was reported
            self._end_offsets = None
        problem: str | None = None
        try:
            if broker.layout(self._topics) != reading.layout:
                self._not_current("a topic has new partitions, was recreated or was deleted; reading all topics again")
                return False
            if not reading.was_at_each_end:
                problem = "the topics have not been read to their end yet"
            else:
                self._require_dates(reading, broker)
                # Keep the requested ends until they are reached: under steady writing the current end moves on before.
                self._end_offsets = self._end_offsets or _EndOffsets(asked_at, broker.ends(reading.partitions))
                if late := reading.behind(self._end_offsets.ends):
                    problem = (
                        f"{late.topic} partition {late.number} has not been read to its end; a transaction may be open"
                    )
        except _UNAVAILABLE as error:
            problem = _broker_error(error)
        if stale and problem:
            self._warn(problem)
        self._report_state()
        return True

    def _require_dates(self, reading: Reading, broker: ReferenceBroker) -> None:
        """Records without append time are from before the topic was corrected, or the topic's setting is wrong."""
        undated = reading.tables.undated
        if undated and (wrong := broker.undated(undated)):
            self._not_current(f"{min(wrong)} uses producer timestamps instead of LogAppendTime; see: vitalwire topics")
        else:
            undated.clear()

    def _conclude(self, reading: Reading) -> None:
        """Once every record up to the requested ends has been read, the data is current as of that request."""
        if self._end_offsets is None or reading.tables.undated or reading.behind(self._end_offsets.ends):
            return
        if reading.tables is not self._tables:
            self._tables = reading.tables
            self._changed(pairings=True)
        if self._problem:
            _log.info("reference data is current")
        self._problem = None
        with self._followed:
            self._followed_at = self._sound_at = self._end_offsets.at
            self._followed.notify_all()
        self._end_offsets = None
        self._report_state()

    def _not_current(self, why: str) -> None:
        self._followed_at = None
        self._warn(why)

    def _warn(self, problem: str) -> None:
        if problem != self._problem:
            _log.warning("reference data is not current: %s", problem)
        self._problem = problem

    def _report_state(self) -> None:
        self._observer.gauge("reference_current", 1 if self.is_current() else 0)
        for table in self._tables.all:
            name = table.spec.name
            self._observer.gauge("reference_records", len(table.values), topic=name)
            self._observer.gauge("reference_closed_keys", len(table.in_doubt), topic=name, cause="in_doubt")
            self._observer.gauge("reference_closed_keys", len(table.unreadable), topic=name, cause="unreadable")
            self._observer.gauge("reference_split_keys", table.split, topic=name)


def _broker_error(error: Exception) -> str:
    code = error.args[0].name() if isinstance(error, KafkaException) else "_TIMED_OUT"
    return f"the broker is unavailable or denied the request ({code})"
