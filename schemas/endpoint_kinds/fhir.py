"""Any FHIR R4 server, by its published rules."""

from schemas.capabilities import Capabilities

CAPABILITIES = Capabilities()
