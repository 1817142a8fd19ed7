"""The sandbox EHR: a test double of an external EHR on loopback, with the manners of Epic, Oracle Health or plain FHIR R4.

It is never a store of the product. What it accepted is read at `/__sandbox/resources?type=Observation`; its credentials at
`/__sandbox/client`; troubles are set with `PUT /__sandbox/faults`, patients with `PUT /__sandbox/patients`.
"""

from testbed.sandbox_ehr.control import app
from testbed.sandbox_ehr.server import SandboxEhr, endpoint_section, main

__all__ = ["SandboxEhr", "app", "endpoint_section", "main"]
