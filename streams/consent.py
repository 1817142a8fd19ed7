"""Whether a consent denies something, or is unreadable or ambiguous. Pure."""

from __future__ import annotations

from schemas.ports.reference import ReferenceData
from schemas.reference import Consent


def is_denial(consent: Consent | None, tenant_id: str, patient_id: str, reference: ReferenceData) -> bool:
    """Whether a missing permission is the patient's decision: the record is readable, or certainly does not exist.

    An unreadable or ambiguous record is not a denial: it permits nothing, but quarantines nothing either. The consent is looked
    up again, because it may have been corrected between the two look-ups.
    """
    if consent is not None:
        return True
    return not reference.consent_in_doubt(tenant_id, patient_id) and reference.consent(tenant_id, patient_id) is None
