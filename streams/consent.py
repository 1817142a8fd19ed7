"""Whether a patient's consent refuses something, or nobody can tell what it says. Pure."""

from __future__ import annotations

from schemas.ports.reference import ReferenceData
from schemas.reference import Consent


def is_refusal(consent: Consent | None, tenant_id: str, patient_id: str, reference: ReferenceData) -> bool:
    """Whether what did not permit it was the patient's will: a record that can be read, or surely none at all.

    A record that nobody can read, or tell from another, is no refusal: it closes everything and ends nothing. The consent is
    looked up once more, for it may have been mended between the two questions.
    """
    if consent is not None:
        return True
    return not reference.consent_in_doubt(tenant_id, patient_id) and reference.consent(tenant_id, patient_id) is None
