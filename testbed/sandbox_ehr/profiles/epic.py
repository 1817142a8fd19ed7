"""Epic. Source: docs/ehr-behaviour.md §1."""

from testbed.sandbox_ehr.profile import PAGING, Profile

PROFILE = Profile(
    name="epic",
    rules="epic",
    id_prefix="eV",
    base_path="/api/FHIR/R4",
    login="assertion",
    token_life_s=3600,
    absolute_location=False,
    etag=False,
    keeps_identifier=False,
    refuses_repeat=True,
    conditional_create=False,
    updates=False,
    stale_status=405,
    search_parameters={
        "Patient": frozenset({"_id", "identifier"}) | PAGING,
        "Encounter": frozenset({"_id", "patient", "subject", "class", "date"}) | PAGING,
        "Observation": frozenset({"_id", "patient", "subject", "category", "code", "date"}) | PAGING,
    },
    unknown_parameter="warn",
    encounter_required=True,
)
