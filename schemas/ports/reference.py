"""What the core asks of the reference topics: pairings, patient records and consents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from schemas.reference import Consent, Pairing, PatientRecord


class ReferenceData(Protocol):
    """Reference topics, read to the end before the first use and kept current. Fails closed."""

    def version(self) -> int:
        """Grows with every change of a pairing or a patient's record; a consent is asked for each time, and is none of it.

        Read it before the records: what changes in between looks new again.
        """
        ...

    def pairings_version(self) -> int:
        """Grows with every change of any pairing; read it before `pairings`."""
        ...

    def pairings(self) -> Mapping[tuple[str, str], Pairing]:
        """(tenant_id, device_id) → history. Live: look up single keys; to go through it, copy first (`list(it.items())`)."""
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
        """Whether there are records that nobody can read, or tell apart: nothing is permitted, and nothing was refused."""
        ...

    def is_current(self) -> bool:
        """Whether the end of every reference topic was reached and is still being followed."""
        ...
