"""Epic: what differs from any FHIR server. Most of it is data in `schemas.endpoint_kinds.epic`.

Source: Epic Observation.Create (Vitals), Encounter.Search; docs/ehr-behaviour.md §1.
"""

from __future__ import annotations

from adapters.ehr.fhir import FhirEndpoint
from adapters.ehr.http import Params


class EpicEndpoint(FhirEndpoint):
    """Searches encounters without `status`, which Epic declares but does not document: they are sorted out here."""

    def encounter_params(self, subject_id: str) -> Params:
        """All encounters of the patient."""
        return [("patient", subject_id)]
