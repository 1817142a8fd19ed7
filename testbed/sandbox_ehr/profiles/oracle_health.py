"""Oracle Health Millennium. Source: docs/ehr-behaviour.md §2."""

from testbed.sandbox_ehr.profile import PAGING, Profile

PROFILE = Profile(
    name="oracle-health",
    rules="oracle-health",
    id_prefix="M-",
    base_path="/r4/sandbox",
    login="secret",
    token_life_s=570,
    absolute_location=True,
    etag=True,
    keeps_identifier=False,
    refuses_repeat=False,
    conditional_create=False,
    updates=True,
    stale_status=409,
    search_parameters={
        "Patient": frozenset({"_id", "identifier"}) | PAGING,
        "Encounter": frozenset({"_id", "patient", "subject", "status", "date"}) | PAGING,
        "Observation": frozenset({"_id", "patient", "subject", "category", "code", "date"}) | PAGING,
    },
    unknown_parameter="refuse",
    json_only=True,
)
