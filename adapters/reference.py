"""Pairings, patients and consents from their compacted topics: read to the end before use, then followed by a thread.

Fails closed: a record that cannot be understood closes its key (no pairing, no patient, no consent), and when the broker
was away for too long nothing is current any more.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from threading import Condition, Event, Thread
from time import monotonic
from typing import Any, NamedTuple, TypeVar

from confluent_kafka import OFFSET_BEGINNING as BEGINNING
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas.errors import RetryLater
from schemas.ports import Observer
from schemas.reference import Consent, Pairing, PatientRecord
from schemas.topics import CONSENTS, PAIRINGS, PATIENTS, TopicSpec

_log = logging.getLogger(__name__)
_TOPICS = (PAIRINGS, PATIENTS, CONSENTS)
_CHUNK = 5_000
_POLL_S = 0.05
_VERIFY_EVERY_S = 1.0
_ANSWER_S = 2.0
_GONE_AFTER_S = 15.0

Key = tuple[str, str]
V = TypeVar("V")
R = TypeVar("R")
FromFhir = Callable[[dict[str, Any], str, str], Consent]


class _Partition(NamedTuple):
    topic: str
    number: int


class KafkaReference:
    """`schemas.ports.ReferenceData`. Reads are plain dictionary look-ups and may come from any thread."""

    def __init__(
        self,
        bootstrap: str,
        *,
        consent_from_fhir: FromFhir,
        observer: Observer,
        prefix: str = "",
        stale_after_s: float = _GONE_AFTER_S,
        extra: dict[str, Any] | None = None,
    ) -> None:
        self._spec_of = {spec.prefixed(prefix): spec for spec in _TOPICS}
        self._consent_from_fhir = consent_from_fhir
        self._observer = observer
        self._stale_after_s = stale_after_s
        self._settings = {
            "bootstrap.servers": bootstrap,
            "group.id": "vitalwire-reference-never-joined",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "fetch.wait.max.ms": 100,
            "reconnect.backoff.ms": 250,
            "reconnect.backoff.max.ms": 2_000,
            "log_level": 3,
        } | (extra or {})
        self._pairings: dict[Key, Pairing] = {}
        self._patients: dict[Key, PatientRecord] = {}
        self._consents: dict[Key, Consent] = {}
        self._version = 0
        self._pairings_version = 0
        self._next: dict[_Partition, int] = {}
        self._followed_at: float | None = None
        self._followed = Condition()
        self._stopped = Event()
        self._thread = Thread(target=self._run, name="reference", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def wait_until_current(self, timeout_s: float) -> None:
        """Return when the end of every topic was reached; RetryLater when that takes too long."""
        with self._followed:
            if not self._followed.wait_for(self.is_current, timeout_s):
                raise RetryLater("the reference topics were not read to their end in time; is the broker there?")

    def close(self) -> None:
        """Stop following."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def version(self) -> int:
        """Grows with every change of any record; read it before the records."""
        return self._version

    def pairings_version(self) -> int:
        """Grows with every change of any pairing; read it before `pairings`."""
        return self._pairings_version

    def pairings(self) -> Mapping[Key, Pairing]:
        """(tenant_id, device_id) → history. What is returned never changes; a later call returns another."""
        return self._pairings

    def patients(self) -> Mapping[Key, PatientRecord]:
        """(tenant_id, patient_id) → record."""
        return self._patients

    def pairing(self, tenant_id: str, device_id: str) -> Pairing | None:
        """The device's history, or None: not paired."""
        return self._pairings.get((tenant_id, device_id))

    def patient(self, tenant_id: str, patient_id: str) -> PatientRecord | None:
        """The patient's record, or None."""
        return self._patients.get((tenant_id, patient_id))

    def consent(self, tenant_id: str, patient_id: str) -> Consent | None:
        """The patient's consent, or None: no record is no consent."""
        return self._consents.get((tenant_id, patient_id))

    def is_current(self) -> bool:
        """Whether every topic was lately seen to be read to its end."""
        return self._followed_at is not None and monotonic() - self._followed_at < self._stale_after_s

    def _run(self) -> None:
        try:
            consumer = Consumer(self._settings, logger=_log)
            try:
                self._assign(consumer)
                self._follow(consumer)
            finally:
                consumer.close()
        except Exception as failure:
            # The thread's end must not pass for silence: from here on nothing is current.
            self._followed_at = None
            _log.error("reference data can no longer be followed (%s)", type(failure).__name__)
        finally:
            self._observer.gauge("reference_current", 0)

    def _assign(self, consumer: Consumer) -> None:
        while not self._stopped.is_set():
            partitions = [p for topic in self._spec_of for p in _partitions(consumer, topic)]
            if {p.topic for p in partitions} == set(self._spec_of):
                self._next = dict.fromkeys(partitions, 0)
                consumer.assign([TopicPartition(p.topic, p.number, BEGINNING) for p in partitions])
                return
            self._stopped.wait(_POLL_S * 4)

    def _follow(self, consumer: Consumer) -> None:
        verify_at = 0.0
        while not self._stopped.is_set():
            messages = consumer.consume(_CHUNK, _POLL_S)
            if messages:
                self._take(messages)
            if monotonic() >= verify_at:
                self._verify(consumer)
                verify_at = monotonic() + (_VERIFY_EVERY_S if self._followed_at else _POLL_S)

    def _take(self, messages: list[Message]) -> None:
        changed: dict[TopicSpec, dict[Key, Any]] = {spec: {} for spec in _TOPICS}
        for message in messages:
            at = _Partition(message.topic(), message.partition())
            error = message.error()
            if error is None:
                self._next[at] = message.offset() + 1
                self._read(message, changed[self._spec_of[at.topic]])
            elif error.code() == KafkaError._PARTITION_EOF:
                self._next[at] = max(self._next[at], message.offset())
        # Whole new dictionaries: whoever iterates over the old one is not disturbed.
        self._patients = _merged(self._patients, changed[PATIENTS])
        self._consents = _merged(self._consents, changed[CONSENTS])
        if changed[PAIRINGS]:
            self._pairings = _merged(self._pairings, changed[PAIRINGS])
            self._pairings_version += 1  # after the dictionary, so that nobody keeps the old one under the new number
        if any(changed.values()):
            self._version += 1

    def _read(self, message: Message, changed: dict[Key, Any]) -> None:
        key = _key(message.key())
        if key is None:
            self._report(message)
            return
        value = message.value()
        try:
            changed[key] = None if value is None else self._parsed(message.topic(), key, value)
        except Exception:  # whatever a record holds, it is data: it closes its key and nothing else
            changed[key] = None
            self._report(message)

    def _parsed(self, topic: str, key: Key, value: bytes) -> Pairing | PatientRecord | Consent:
        spec = self._spec_of[topic]
        if spec is PAIRINGS:
            pairing = Pairing.model_validate_json(value)
            return _of_its_key(pairing, (pairing.tenant_id, pairing.device_id), key)
        if spec is PATIENTS:
            patient = PatientRecord.model_validate_json(value)
            return _of_its_key(patient, (patient.tenant_id, patient.patient_id), key)
        resource = json.loads(value)
        if resource.get("resourceType") == "Consent":
            return self._consent_from_fhir(resource, *key)
        consent = Consent.model_validate_json(value)
        return _of_its_key(consent, (consent.tenant_id, consent.patient_id), key)

    def _report(self, message: Message) -> None:
        topic = self._spec_of[message.topic()].name
        self._observer.count("reference_malformed_total", topic=topic)
        _log.warning(
            "%s partition %d offset %d cannot be understood; its key is closed until it is corrected",
            topic,
            message.partition(),
            message.offset(),
        )

    def _verify(self, consumer: Consumer) -> None:
        """Ask the broker itself where each topic ends; silence and lag both let the data grow stale."""
        try:
            ends = {at: consumer.get_watermark_offsets(TopicPartition(*at), _ANSWER_S)[1] for at in self._next}
        except KafkaException:
            ends = {}
        if ends and all(self._next[at] >= end for at, end in ends.items()):
            with self._followed:
                self._followed_at = monotonic()
                self._followed.notify_all()
        self._observer.gauge("reference_current", 1 if self.is_current() else 0)
        for spec, known in ((PAIRINGS, self._pairings), (PATIENTS, self._patients), (CONSENTS, self._consents)):
            self._observer.gauge("reference_records", len(known), topic=spec.name)


def _partitions(consumer: Consumer, topic: str) -> list[_Partition]:
    try:
        described = consumer.list_topics(topic, timeout=_ANSWER_S).topics[topic]
    except KafkaException:
        return []
    return [] if described.error else [_Partition(topic, number) for number in described.partitions]


def _merged(known: dict[Key, V], changed: dict[Key, V | None]) -> dict[Key, V]:
    if not changed:
        return known
    return {key: value for key, value in (known | changed).items() if value is not None}


def _key(raw: bytes | None) -> Key | None:
    try:
        tenant_id, bar, name = (raw or b"").decode().partition("|")
    except UnicodeDecodeError:
        return None
    return (tenant_id, name) if bar and tenant_id and name else None


def _of_its_key(record: R, named: Key, key: Key) -> R:
    if named != key:
        raise ValueError("the record speaks of another key")
    return record
