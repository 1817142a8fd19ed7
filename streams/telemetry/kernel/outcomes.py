"""The outcome of a row: the codes that the compiled loops write, and the quarantine reason of each."""

from __future__ import annotations

from schemas.reasons import Reason

OPENED, LATE, ALREADY_PROCESSED = 0, 1, 2
OUT_OF_RANGE, CLOCK_AHEAD, TOO_OLD, UNPAIRED, AMBIGUOUS, MISMATCH = 3, 4, 5, 6, 7, 8
REASONS: dict[int, Reason] = {
    OUT_OF_RANGE: Reason.OUT_OF_RANGE,
    CLOCK_AHEAD: Reason.CLOCK_AHEAD,
    TOO_OLD: Reason.TOO_OLD,
    UNPAIRED: Reason.UNPAIRED,
    AMBIGUOUS: Reason.AMBIGUOUS_PAIRING,
    MISMATCH: Reason.PATIENT_MISMATCH,
}
"""Outcomes that quarantine a reading. All of them are greater than ALREADY_PROCESSED."""
