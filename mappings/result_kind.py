"""The interface of a kind of result: rendering, delivery and search. One implementation per resource type. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Never, Protocol, TypeVar

from mappings.fhir_json import JsonValue, Resource
from mappings.findings import ElementFinding
from schemas.capabilities import ResourceCapabilities
from schemas.config import Config
from schemas.ehr import SearchMatches, SearchParameters

SourceT_contra = TypeVar("SourceT_contra", contravariant=True)


class ResultKind(Protocol[SourceT_contra]):
    """One resource type. `SourceT_contra` is what a result is rendered from, e.g. the windows of one Observation."""

    @property
    def resource_type(self) -> str:
        """The FHIR type, as an intent names it."""
        ...

    @property
    def charted_action(self) -> str:
        """The audit trail's word for a result that is in the chart."""
        ...

    def renderer(
        self, config: Config, endpoint: str, template: str | None = None
    ) -> Callable[[SourceT_contra, str], dict[str, JsonValue]]:
        """What renders a source for a subject id of this endpoint, ready to be written."""
        ...

    def check(self, resource: Resource, capabilities: ResourceCapabilities) -> list[ElementFinding]:
        """Every reason why this endpoint must not be sent the resource. Empty is good."""
        ...

    def search_parameters(self, resource: Resource, capabilities: ResourceCapabilities) -> SearchParameters:
        """How the endpoint is searched for the resource."""
        ...

    def same_as(self, meant: Resource, candidates: Sequence[Resource]) -> SearchMatches:
        """Which of the resources found in the chart are the one meant, and how many contradict it."""
        ...

    def as_original(self, resource: Resource) -> dict[str, JsonValue]:
        """The resource as the first of its source event in the chart."""
        ...

    def as_amendment(self, resource: Resource) -> dict[str, JsonValue]:
        """The resource as the next version of one that is in the chart."""
        ...

    def with_encounter(self, resource: Resource, reference: str) -> dict[str, JsonValue]:
        """The resource as part of an encounter."""
        ...


AnyResultKind = ResultKind[Never]
"""A kind whose results are already rendered, whatever from."""
