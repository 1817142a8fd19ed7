"""Why a reading or a window is quarantined: machine-readable codes, each with an explanation."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Quarantine reason codes, fixed by the published contract."""

    MALFORMED = "malformed"
    UNKNOWN_TYPE = "unknown_type"
    UNKNOWN_UNIT = "unknown_unit"
    UNIT_MISMATCH = "unit_mismatch"
    OUT_OF_RANGE = "out_of_range"
    CLOCK_AHEAD = "clock_ahead"
    NO_TIME_ZONE = "no_time_zone"
    TOO_OLD = "too_old"
    UNPAIRED = "unpaired"
    AMBIGUOUS_PAIRING = "ambiguous_pairing"
    PATIENT_MISMATCH = "patient_mismatch"
    CONFLICTING_DUPLICATE = "conflicting_duplicate"
    UNKNOWN_PATIENT = "unknown_patient"
    NO_CONSENT = "no_consent"
    OVERSIZED = "oversized"
    UNREADABLE = "unreadable"


LATE = "late"
"""The reason on `vitals.late`: the window had closed. A late reading is not quarantined; it is amended from the lake."""

EXPLANATIONS: dict[Reason, str] = {
    Reason.MALFORMED: "The record is not a reading: it is not JSON, or a field is missing or of the wrong type.",
    Reason.UNKNOWN_TYPE: "No vital of this name is configured. Add it under `vitals:` or correct the sender.",
    Reason.UNKNOWN_UNIT: "The unit is missing or is not a UCUM unit that this vital accepts. Units are never guessed.",
    Reason.UNIT_MISMATCH: "The unit is known but belongs to another quantity than this vital.",
    Reason.OUT_OF_RANGE: "The value is outside the configured plausible range; it is probably a sensor artefact.",
    Reason.CLOCK_AHEAD: "The device's clock is ahead of the broker's by more than the permitted skew. Set the device's clock.",
    Reason.NO_TIME_ZONE: "The time has no offset, so the instant is unknown. Send RFC 3339 with an offset, or epoch ms.",
    Reason.TOO_OLD: "The reading is older than the configured age limit. Check the device's clock or back-fill it.",
    Reason.UNPAIRED: "No patient was paired with the device when it measured.",
    Reason.AMBIGUOUS_PAIRING: "Several patients were paired with the device when it measured. Correct the pairing.",
    Reason.PATIENT_MISMATCH: "The payload names another patient than the one paired with the device.",
    Reason.CONFLICTING_DUPLICATE: "The device sent different values for the same vital and time. None of them is charted.",
    Reason.UNKNOWN_PATIENT: "The patient has no record, or no subject id at this endpoint, in `reference.patients`.",
    Reason.NO_CONSENT: "No active consent permits charting this vital of this patient at this endpoint.",
    Reason.OVERSIZED: "The record is too large, or its frame has too many measurements. Send smaller frames.",
    Reason.UNREADABLE: "The record violates Kafka's record format, so no client can read it. Correct the producer.",
}
