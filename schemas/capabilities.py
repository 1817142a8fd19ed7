"""The capabilities of an endpoint, as data: of the endpoint as a whole, and of each resource type that is written to it.

Sources: Epic Observation.Create (Vitals), Oracle Health Millennium R4 Observation, FHIR R4 (docs/ehr-behaviour.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

LONGEST_TIMEOUT_S = 60.0
"""A write can take three time-outs, and must fit into the lease of four minutes."""


class ResourceCapabilities(BaseModel):
    """What an endpoint supports for one resource type."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    create: bool = Field(True, description="the EHR accepts new resources of this type")
    amend: bool = Field(True, description="PUT of status `amended` is possible")
    identifier: bool = Field(True, description="the EHR keeps our identifier")
    identifier_search: bool = Field(True, description="the EHR finds a resource by our identifier")
    conditional_create: bool = Field(
        False, description="If-None-Exist works; only where CapabilityStatement declares it"
    )
    server_dedupes: bool = Field(
        False, description="an identical resource sent again is refused, not doubled (Epic 59189)"
    )
    encounter: Literal["required", "optional", "none"] = "optional"


class ObservationCapabilities(ResourceCapabilities):
    """What an endpoint supports for Observations, and the form that it requires."""

    effective: Literal["period", "dateTime"] = Field("period", description="window as Period, or its end as dateTime")
    codings: Literal["all", "one"] = Field("all", description="Epic takes exactly one coding in `code`")
    performer: str | None = Field(
        None, description="reference to the Practitioner every vital must name (Oracle Health)"
    )
    device: Literal["contained", "none"] = "contained"
    note: bool = True
    method: bool = True
    note_max_chars: int = 254
    category_system: str = "http://terminology.hl7.org/CodeSystem/observation-category"


UNSUPPORTED = ResourceCapabilities(create=False, amend=False, identifier=False, identifier_search=False)
"""Of a resource type about which nothing is configured: it is not written."""


class Capabilities(BaseModel):
    """The capabilities of an endpoint. In a configuration file a key next to the resource types applies to Observation."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_requests_per_s: float | None = Field(None, description="self-throttle of this endpoint; none by default")
    concurrency: int = Field(8, ge=1, le=256, description="patients written at the same time")
    timeout_s: float = Field(30.0, gt=0, le=LONGEST_TIMEOUT_S, description="how long the EHR may be silent")
    observation: ObservationCapabilities = Field(
        ObservationCapabilities(), alias="Observation", description="what it takes of Observations"
    )

    @model_validator(mode="before")
    @classmethod
    def _nested(cls, given: object) -> object:
        return by_resource_type(given, cls) if isinstance(given, Mapping) else given

    def of(self, resource_type: str) -> ResourceCapabilities:
        """The capabilities for one type of resource."""
        for name, field in type(self).model_fields.items():
            if field.alias == resource_type:
                found: ResourceCapabilities = getattr(self, name)
                return found
        return UNSUPPORTED

    @classmethod
    def resource_models(cls) -> dict[str, type[ResourceCapabilities]]:
        """The model of each resource type, by the key of the type in a configuration file."""
        fields = {field.alias: field.annotation for field in cls.model_fields.values() if field.alias}
        return {
            alias: model
            for alias, model in fields.items()
            if isinstance(model, type) and issubclass(model, ResourceCapabilities)
        }

    def overridden(self, given: Mapping[str, Any]) -> Capabilities:
        """These capabilities with what a site configures differently, flat or by resource type."""
        merged: dict[str, Any] = self.model_dump(by_alias=True)
        for key, value in by_resource_type(given, type(self)).items():
            both = isinstance(merged.get(key), dict) and isinstance(value, Mapping)
            merged[key] = {**merged[key], **value} if both else value
        return type(self).model_validate(merged)


def keys_of(model: type[BaseModel]) -> list[str]:
    """The keys of a model as a file writes them."""
    return [field.alias or name for name, field in model.model_fields.items()]


def given_twice(given: Mapping[str, Any]) -> list[str]:
    """Keys that are given both beside `Observation` and under it."""
    nested = given.get("Observation")
    return sorted(given.keys() & nested.keys()) if isinstance(nested, Mapping) else []


def by_resource_type(given: Mapping[str, Any], model: type[Capabilities]) -> dict[str, Any]:
    """The given capabilities with flat keys of Observation under `Observation`, where they belong."""
    endpoint_keys = keys_of(model)
    flat = {key: value for key, value in given.items() if key not in endpoint_keys}
    nested = given.get("Observation", {})
    if not flat or not isinstance(nested, Mapping):
        return dict(given)
    if twice := given_twice(given):
        raise ValueError(f"`{twice[0]}` is given twice; write it under `Observation` only")
    return {key: value for key, value in given.items() if key not in flat} | {"Observation": {**flat, **nested}}
