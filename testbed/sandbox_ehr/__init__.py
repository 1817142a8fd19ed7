"""The sandbox EHR: a test double of an external EHR on loopback, with the profile of Epic, Oracle Health or plain FHIR R4.

`GET /__sandbox/resources?type=Observation` lists what it accepted, `GET /__sandbox/client` its credentials.
`PUT /__sandbox/faults` injects faults, `PUT /__sandbox/patients` adds patients.
"""

from testbed.sandbox_ehr.control import app
from testbed.sandbox_ehr.server import SandboxEhr, endpoint_section, main

__all__ = ["SandboxEhr", "app", "endpoint_section", "main"]
