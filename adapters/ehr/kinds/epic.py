"""Epic: what differs from any FHIR server. Most of it is data in `schemas/endpoint_kinds/epic.py`.

Source: Epic Observation.Create (Vitals), Encounter.Search; docs/ehr-behaviour.md §1.
"""

from __future__ import annotations

from adapters.ehr.fhir import FhirEndpoint
from schemas.ehr import SearchParameters


class EpicEndpoint(FhirEndpoint):
    """Searches encounters without `status`, which Epic declares but does not document; the adapter filters them itself."""

    def encounter_parameters(self, subject_id: str) -> SearchParameters:
        """All encounters of the patient."""
        return (("patient", subject_id),)


ENDPOINT = EpicEndpoint
