"""Oracle Health Millennium: what differs from any FHIR server. Most of it is data in `schemas/endpoint_kinds/oracle_health.py`.

Source: Millennium Platform APIs R4, Observation and Encounter; docs/ehr-behaviour.md §2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapters.ehr.bodies import resource_of
from adapters.ehr.fhir import FhirEndpoint
from mappings.fhir_json import version_of
from mappings.resource_identity import with_identifiers_of
from schemas.ehr import EhrResponse, SearchParameters
from schemas.ports.ehr import LastCheck


class OracleHealthEndpoint(FhirEndpoint):
    """Reads a resource before it amends it: an update must carry the identifier that the server assigned."""

    def encounter_parameters(self, subject_id: str) -> SearchParameters:
        """One status value; `status` is allowed with `patient`."""
        return (("patient", subject_id), ("status", "in-progress"))

    async def update(
        self,
        resource_id: str,
        version: str | None,
        resource: Mapping[str, Any],
        last_check: LastCheck | None = None,
    ) -> EhrResponse:
        """Read, copy the server's identifier, PUT with the version we wrote (or, if unknown, the one just read)."""
        resource_type = str(resource["resourceType"])
        read = await self._http.request(f"{resource_type}.read", "GET", f"{resource_type}/{resource_id}")
        current = resource_of(read, resource_type)
        if current is None:
            return _not_updated(read)
        amended = with_identifiers_of(current, resource)
        return await super().update(resource_id, version or version_of(current).version, amended, last_check)


def _not_updated(read: EhrResponse) -> EhrResponse:
    """The update was not sent. The response to the read must not be taken for one to the update."""
    if read.status is None:
        return read._replace(sent=False)
    return read._replace(headers={}, body=b"", error=read.error or "not_read") if read.status < 300 else read


ENDPOINT = OracleHealthEndpoint
