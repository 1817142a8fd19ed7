"""The reference topics as tables. A key whose records are ambiguous, or whose newest record is unreadable, is blocked."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message

from adapters.reference.newest import UNDATED, Appended, Claim, Claims, PartitionClock
from schemas.ports.observer import Observer
from schemas.reference import Consent, Pairing, PatientRecord
from schemas.topics import CONSENTS, PAIRINGS, PATIENTS, TopicSpec

_log = logging.getLogger(__name__)

Key = tuple[str, str]
V = TypeVar("V")
FromFhir = Callable[[dict[str, Any], str, str], Consent]
Understand = Callable[[Consent], Consent]
"""Widens denials that name vitals or endpoints that are not configured."""
UNREADABLE: Final = object()


class Table(Generic[V]):
    """The keys of one topic. `values` contains the valid records. A change affects only its own key."""

    def __init__(self, spec: TopicSpec) -> None:
        self.spec = spec
        self.values: dict[Key, V] = {}
        self.in_doubt: set[Key] = set()
        self.unreadable: set[Key] = set()
        self.split = 0
        self._claims: dict[Key, Claims] = {}

    def apply(self, key: Key, claim: Claim) -> bool:
        """Apply the partition's next record of a key; whether `values` has changed."""
        known = self._claims.get(key)
        claims = Claims((claim,)) if known is None else known.with_next(claim)
        self._claims[key] = claims
        self.split += claims.is_split and not (known and known.is_split)
        in_doubt = claims.in_doubt
        unreadable = not in_doubt and claims.value is UNREADABLE
        _mark(self.in_doubt, key, in_doubt)
        _mark(self.unreadable, key, unreadable)
        value = None if in_doubt or unreadable else claims.value
        before = self.values.get(key)
        if value is None:
            self.values.pop(key, None)
        else:
            self.values[key] = value
        return bool(before != value)

    def is_blocked(self, key: Key) -> bool:
        """Whether the key has records, but no valid one."""
        return key in self.in_doubt or key in self.unreadable


class Tables:
    """The tables of the three topics."""

    def __init__(self, prefix: str, consent_from_fhir: FromFhir, observer: Observer, understand: Understand) -> None:
        self.pairings: Table[Pairing] = Table(PAIRINGS)
        self.patients: Table[PatientRecord] = Table(PATIENTS)
        self.consents: Table[Consent] = Table(CONSENTS)
        self.undated: set[str] = set()
        """Topics with a record without append time, whose setting must be checked."""
        self._of: dict[str, Table[Any]] = {table.spec.prefixed(prefix): table for table in self.all}
        self._clocks: dict[tuple[str, int], PartitionClock] = {}
        self._consent_from_fhir = consent_from_fhir
        self._understand = understand
        self._observer = observer

    @property
    def all(self) -> tuple[Table[Pairing], Table[PatientRecord], Table[Consent]]:
        """The tables."""
        return self.pairings, self.patients, self.consents

    def apply(self, message: Message) -> Table[Any] | None:
        """Apply one record; returns the table if its values changed. An invalid record blocks its own key and no other."""
        table = self._of[message.topic()]
        key = _key(message.key())
        if key is None:
            self._report(message, table, "has a key that is not of the form tenant|name")
            return None
        claim = Claim(message.partition(), self._appended(message), self._value(message, table, key))
        return table if table.apply(key, claim) else None

    def _appended(self, message: Message) -> Appended:
        kind, time_ms = message.timestamp()
        if kind != TIMESTAMP_LOG_APPEND_TIME:
            self.undated.add(message.topic())
            return UNDATED
        at = (message.topic(), message.partition())
        clock = self._clocks.get(at)
        if clock is None:
            clock = self._clocks[at] = PartitionClock()
        return clock.appended(time_ms)

    def _value(self, message: Message, table: Table[Any], key: Key) -> Any:
        try:
            value = message.value()
            parsed = None if value is None else self._parsed(table, key, value)
            return self._widened(message, table, parsed) if isinstance(parsed, Consent) else parsed
        except Exception:  # whatever a record contains, it blocks its key and nothing else
            self._report(message, table, "cannot be parsed; its key is blocked until it is corrected")
            return UNREADABLE

    def _widened(self, message: Message, table: Table[Any], consent: Consent) -> Consent:
        understood = self._understand(consent)
        if understood is not consent:
            self._report(
                message, table, "denies a vital or endpoint that is not configured; treated as a denial of all of them"
            )
        return understood

    def _parsed(self, table: Table[Any], key: Key, value: bytes) -> Any:
        record = json.loads(value, object_pairs_hook=_each_once)
        if table is self.pairings:
            pairing = Pairing.model_validate(record)
            return _of_its_key(pairing, (pairing.tenant_id, pairing.device_id), key)
        if table is self.patients:
            patient = PatientRecord.model_validate(record)
            return _of_its_key(patient, (patient.tenant_id, patient.patient_id), key)
        if record.get("resourceType") == "Consent":
            return self._consent_from_fhir(record, *key)
        consent = Consent.model_validate(record)
        return _of_its_key(consent, (consent.tenant_id, consent.patient_id), key)

    def _report(self, message: Message, table: Table[Any], what: str) -> None:
        self._observer.count("reference_malformed_total", topic=table.spec.name)
        _log.warning("%s partition %d offset %d %s", table.spec.name, message.partition(), message.offset(), what)


def _key(raw: bytes | None) -> Key | None:
    try:
        tenant_id, bar, name = (raw or b"").decode().partition("|")
    except UnicodeDecodeError:
        return None
    return (tenant_id, name) if bar and tenant_id and name else None


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Rejects a record that contains a field twice."""
    record = dict(pairs)
    if len(record) != len(pairs):
        raise ValueError("a field occurs twice")
    return record


def _of_its_key(record: V, named: Key, key: Key) -> V:
    if named != key:
        raise ValueError("the record belongs to another key")
    return record


def _mark(keys: set[Key], key: Key, marked: bool) -> None:
    if marked:
        keys.add(key)
    else:
        keys.discard(key)
