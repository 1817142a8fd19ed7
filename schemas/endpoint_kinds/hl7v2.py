"""An interface engine that takes HL7 v2 messages (ORU^R01) over MLLP."""

from schemas.capabilities import Capabilities, ObservationCapabilities

CAPABILITIES = Capabilities(
    Observation=ObservationCapabilities(effective="dateTime", identifier=False, identifier_search=False)
)
