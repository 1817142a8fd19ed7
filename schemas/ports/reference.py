"""Reference data as the core reads it: pairings, patient records and consents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from schemas.reference import Consent, Pairing, PatientRecord


class ReferenceData(Protocol):
    """Reference topics, read to the end before the first use and kept current. Fails closed."""

    def version(self) -> int:
        """Increases with every change of a pairing or patient record; consents are read each time and do not count.

        Read it before the records, so that a change in between is noticed.
        """
        ...

    def pairings_version(self) -> int:
        """Increases with every change of a pairing; read it before `pairings`."""
        ...

    def pairings(self) -> Mapping[tuple[str, str], Pairing]:
        """(tenant_id, device_id) → history. Live: look up single keys; copy it before iterating (`list(it.items())`)."""
        ...

    def patients(self) -> Mapping[tuple[str, str], PatientRecord]:
        """(tenant_id, patient_id) → record. Live, as `pairings` is."""
        ...

    def pairing(self, tenant_id: str, device_id: str) -> Pairing | None:
        """The device's history, or None: not paired."""
        ...

    def patient(self, tenant_id: str, patient_id: str) -> PatientRecord | None:
        """The patient's record, or None."""
        ...

    def consent(self, tenant_id: str, patient_id: str) -> Consent | None:
        """The patient's consent, or None: no record is no consent."""
        ...

    def consent_in_doubt(self, tenant_id: str, patient_id: str) -> bool:
        """Whether the records are unreadable or ambiguous: nothing is permitted, and nothing was denied."""
        ...

    def is_current(self) -> bool:
        """Whether every reference topic was read to its end and is still being followed."""
        ...
