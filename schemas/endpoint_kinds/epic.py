"""Epic. Source: Observation.Create (Vitals); docs/ehr-behaviour.md §1."""

from schemas.capabilities import Capabilities, ObservationCapabilities

CAPABILITIES = Capabilities(
    Observation=ObservationCapabilities(
        effective="dateTime",
        codings="one",
        identifier=False,
        identifier_search=False,
        amend=False,
        encounter="required",
        device="none",
        method=False,
        server_dedupes=True,
    )
)
