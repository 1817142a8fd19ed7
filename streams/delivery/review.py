"""Whether a recorded intent agrees with the current records, and what follows if not. Pure.

Called before every attempt, again immediately before the first byte is sent, and before a release. The patient is part of a
result's identity, so a changed pairing is never corrected here. The patient's id at the EHR is only an address: it is
corrected as long as nothing can have been written under the old one.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import NamedTuple

from mappings.resource_subject import with_subject
from schemas.instants import MICROSECOND, epoch_ms
from schemas.operation import Intent, Operation, State
from schemas.ports.reference import ReferenceData
from schemas.reference import Consent, Pairing
from streams.consent import is_denial

_FHIR_ID = re.compile(r"[A-Za-z0-9\-._]{1,255}")


class Readdress(NamedTuple):
    """The same result for the same patient, with the patient's current id at the endpoint."""

    intent: Intent


class Stop(NamedTuple):
    """Nothing may be sent: the operation is held, quarantined or deferred, for the reason in the code."""

    state: State
    code: str


Review = Readdress | Stop | None
"""None: the intent agrees, and is sent as it is."""


def review(operation: Operation, reference: ReferenceData, now: datetime) -> Review:
    """Compare an operation with the current pairing, consent and patient record: identity, then permission, then address."""
    intent = operation.intent
    if not still_paired(intent, reference):
        return Stop(State.HELD, "pairing_changed")
    consent = reference.consent(intent.tenant_id, intent.patient_id)
    if consent is None or not permitted(intent, consent, now):
        denied = is_denial(consent, intent.tenant_id, intent.patient_id, reference)
        return Stop(State.QUARANTINED, "no_consent") if denied else Stop(State.DEFERRED, "consent_in_doubt")
    subject_id = subject_now(intent, reference)
    if subject_id is None:
        return Stop(State.HELD, "unknown_patient")
    if subject_id == intent.subject_id:
        return None
    if operation.in_doubt or operation.state is State.UNKNOWN:
        return Stop(State.HELD, "subject_changed")
    readdressed = _readdressed(intent, subject_id)
    return Stop(State.HELD, "subject_changed") if readdressed is None else Readdress(readdressed)


def still_paired(intent: Intent, reference: ReferenceData) -> bool:
    """Whether the device's record gives it to this patient. Intents of versions that named no device are not compared."""
    return intent.source.device_id is None or is_given(
        intent, reference.pairing(intent.tenant_id, intent.source.device_id)
    )


def is_given(intent: Intent, pairing: Pairing | None) -> bool:
    """Whether the device belonged to this patient alone from first to last reading; true if these are unknown."""
    if intent.source.first_time is None or intent.source.last_time is None:
        return True
    return pairing is not None and _gives(pairing, intent.patient_id, intent.source.first_time, intent.source.last_time)


def permitted(intent: Intent, consent: Consent, now: datetime) -> bool:
    """Whether consent holds now, and held from the first to the last reading."""
    last = intent.source.last_time or intent.occurred_at - MICROSECOND  # the end of a window is exclusive
    first = intent.source.first_time or last
    held = consent.allows(intent.purpose, intent.scope, intent.endpoint, first, last)
    return held and consent.allows(intent.purpose, intent.scope, intent.endpoint, now)


def subject_now(intent: Intent, reference: ReferenceData) -> str | None:
    """The patient's current id at the endpoint; None if there is none, or if it is not a FHIR id."""
    patient = reference.patient(intent.tenant_id, intent.patient_id)
    subject_id = patient.subject_ids.get(intent.endpoint) if patient else None
    return subject_id if subject_id and _FHIR_ID.fullmatch(subject_id) else None


def _gives(pairing: Pairing, patient_id: str, first: datetime, last: datetime) -> bool:
    """No other patient in [first, last], and no gap; in whole milliseconds, as in the pairing of readings."""
    reached, end = epoch_ms(first), epoch_ms(last)
    spans = (
        (epoch_ms(span.since), None if span.until is None else epoch_ms(span.until), span) for span in pairing.intervals
    )
    for since, until, span in sorted(spans, key=lambda one: one[0]):
        if since > end or (until is not None and until <= max(since, epoch_ms(first))):
            continue
        if span.patient_id != patient_id or since > reached:
            return False
        reached = end + 1 if until is None else max(reached, until)
    return reached > end


def _readdressed(intent: Intent, subject_id: str) -> Intent | None:
    """The intent with a corrected reference to the patient; None if its payload names the old id elsewhere too."""
    payload = with_subject(intent.payload, intent.subject_id, subject_id)
    if payload is None:
        return None
    return intent.model_copy(update={"subject_id": subject_id, "payload": payload})
