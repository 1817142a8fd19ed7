"""Oracle Health Millennium. Source: Millennium Platform APIs R4, Observation; docs/ehr-behaviour.md §2."""

from schemas.capabilities import Capabilities, ObservationCapabilities

CAPABILITIES = Capabilities(
    Observation=ObservationCapabilities(
        effective="dateTime", identifier=False, identifier_search=False, device="none", method=False
    )
)
