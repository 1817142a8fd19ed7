"""How each sandbox profile behaves, as data. Source: docs/ehr-behaviour.md §1, §2, §8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

EPIC_ERRORS = "urn:oid:1.2.840.114350.1.13.0.1.7.2.657369"
ProfileName = Literal["epic", "oracle-health", "fhir"]


@dataclass(frozen=True, slots=True)
class Profile:
    """One EHR's behaviour: its paths, its authentication, and how it handles creates, updates and searches."""

    name: ProfileName
    base_path: str
    login: Literal["assertion", "secret", "none"]
    token_life_s: int
    absolute_location: bool
    etag: bool
    keeps_identifier: bool
    refuses_repeat: bool
    conditional_create: bool
    updates: bool
    stale_status: int
    search_parameters: dict[str, frozenset[str]]
    unknown_parameter: Literal["warn", "refuse", "ignore"]
    encounter_required: bool = False
    json_only: bool = False
    page: int = 50


_PAGING = frozenset({"_count", "_offset"})

PROFILES: dict[str, Profile] = {
    "epic": Profile(
        name="epic",
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
            "Patient": frozenset({"_id", "identifier"}) | _PAGING,
            "Encounter": frozenset({"_id", "patient", "subject", "class", "date"}) | _PAGING,
            "Observation": frozenset({"_id", "patient", "subject", "category", "code", "date"}) | _PAGING,
        },
        unknown_parameter="warn",
        encounter_required=True,
    ),
    "oracle-health": Profile(
        name="oracle-health",
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
            "Patient": frozenset({"_id", "identifier"}) | _PAGING,
            "Encounter": frozenset({"_id", "patient", "subject", "status", "date"}) | _PAGING,
            "Observation": frozenset({"_id", "patient", "subject", "category", "code", "date"}) | _PAGING,
        },
        unknown_parameter="refuse",
        json_only=True,
    ),
    "fhir": Profile(
        name="fhir",
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
            "Patient": frozenset({"_id", "identifier"}) | _PAGING,
            "Encounter": frozenset({"_id", "patient", "subject", "status", "date"}) | _PAGING,
            "Observation": frozenset({"_id", "patient", "subject", "category", "code", "date", "identifier", "status"})
            | _PAGING,
        },
        unknown_parameter="ignore",
    ),
}
