"""What a sandbox profile says about one EHR, as data. Source: docs/ehr-behaviour.md §1, §2, §8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

EPIC_ERRORS = "urn:oid:1.2.840.114350.1.13.0.1.7.2.657369"
PAGING = frozenset({"_count", "_offset"})


@dataclass(frozen=True, slots=True)
class Profile:
    """One EHR's behaviour: its paths, its authentication, and how it handles creates, updates and searches.

    `rules` selects whose checks and response format it shares (rules.py, responses.py).
    """

    name: str
    rules: Literal["epic", "oracle-health", "fhir"]
    id_prefix: str
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
