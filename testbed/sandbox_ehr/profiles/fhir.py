"""Any FHIR R4 server, by its published rules. Source: docs/ehr-behaviour.md §8."""

from testbed.sandbox_ehr.profile import PAGING, Profile

PROFILE = Profile(
    name="fhir",
    rules="fhir",
    id_prefix="",
    base_path="/fhir",
    login="none",
    token_life_s=300,
    absolute_location=True,
    etag=True,
    keeps_identifier=True,
    refuses_repeat=False,
    conditional_create=True,
    updates=True,
    stale_status=412,
    search_parameters={
        "Patient": frozenset({"_id", "identifier"}) | PAGING,
        "Encounter": frozenset({"_id", "patient", "subject", "status", "date"}) | PAGING,
        "Observation": frozenset({"_id", "patient", "subject", "category", "code", "date", "identifier", "status"})
        | PAGING,
    },
    unknown_parameter="ignore",
)
