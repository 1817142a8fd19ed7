"""Observations as a kind of result: what the clinical role renders from windows, and delivery writes and searches. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mappings.fhir_json import JsonValue, Resource
from mappings.findings import ElementFinding
from mappings.observation import amend
from mappings.observation.mapper import ObservationMapper
from mappings.observation.match import compare
from mappings.observation.search import search_parameters
from mappings.observation.us_core import validate
from schemas.capabilities import ObservationCapabilities, ResourceCapabilities
from schemas.config import Config
from schemas.window import Window


class ObservationKind:
    """The `ResultKind` of Observations, rendered from the windows of one result."""

    resource_type = "Observation"
    charted_action = "observation.charted"

    search_parameters = staticmethod(search_parameters)
    same_as = staticmethod(compare)
    as_original = staticmethod(amend.as_original)
    as_amendment = staticmethod(amend.as_amendment)
    with_encounter = staticmethod(amend.with_encounter)

    def renderer(
        self, config: Config, endpoint: str, template: str | None = None
    ) -> Callable[[Sequence[Window], str], dict[str, JsonValue]]:
        """Windows → Observation, by the endpoint's template."""
        return ObservationMapper(config, endpoint, template).render

    def check(self, resource: Resource, capabilities: ResourceCapabilities) -> list[ElementFinding]:
        """US Core's rules, and what the endpoint takes."""
        return validate(resource, capabilities if isinstance(capabilities, ObservationCapabilities) else None)


OBSERVATION = ObservationKind()
