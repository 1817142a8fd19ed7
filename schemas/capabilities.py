"""What one endpoint can take: the capability matrix, as data. Differences between EHRs live here first.

Sources: Epic Observation.Create (Vitals), Oracle Health Millennium R4 Observation, FHIR R4 (docs/ehr-behaviour.md).
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

EndpointKind = Literal["epic", "oracle-health", "fhir", "hl7v2"]
LONGEST_TIMEOUT_S = 60.0
"""A write may take three time-outs, and must fit into the four minutes for which a worker holds it."""


class Capabilities(BaseModel):
    """How an Observation must look at this endpoint, and what the endpoint can be asked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    effective: Literal["period", "dateTime"] = Field("period", description="window as Period, or its end as dateTime")
    codings: Literal["all", "one"] = Field("all", description="Epic takes exactly one coding in `code`")
    identifier: bool = Field(True, description="the EHR keeps our identifier")
    identifier_search: bool = Field(True, description="the EHR finds an Observation by our identifier")
    conditional_create: bool = Field(
        False, description="If-None-Exist works; only where CapabilityStatement declares it"
    )
    amend: bool = Field(True, description="PUT of status `amended` is possible")
    encounter: Literal["required", "optional", "none"] = "optional"
    performer: str | None = Field(
        None, description="reference to the Practitioner every vital must name (Oracle Health)"
    )
    device: Literal["contained", "none"] = "contained"
    note: bool = True
    method: bool = True
    note_max_chars: int = 254
    category_system: str = "http://terminology.hl7.org/CodeSystem/observation-category"
    server_dedupes: bool = Field(
        False, description="an identical vital sent again is refused, not doubled (Epic 59189)"
    )
    max_requests_per_s: float | None = Field(None, description="self-throttle of this endpoint; none by default")
    concurrency: int = Field(8, ge=1, le=256, description="patients written at the same time")
    timeout_s: float = Field(30.0, gt=0, le=LONGEST_TIMEOUT_S, description="how long the EHR may be silent")


DEFAULTS: dict[EndpointKind, Capabilities] = {
    "fhir": Capabilities(),
    "epic": Capabilities(
        effective="dateTime",
        codings="one",
        identifier=False,
        identifier_search=False,
        amend=False,
        encounter="required",
        device="none",
        method=False,
        server_dedupes=True,
    ),
    "oracle-health": Capabilities(
        effective="dateTime",
        identifier=False,
        identifier_search=False,
        device="none",
        method=False,
    ),
    "hl7v2": Capabilities(effective="dateTime", identifier=False, identifier_search=False),
}
