"""Oracle Health Millennium: what differs from any FHIR server. Most of it is data in `schemas.endpoint_kinds.oracle_health`.

Source: Millennium Platform APIs R4, Observation and Encounter; docs/ehr-behaviour.md §2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from adapters.ehr.fhir import FhirEndpoint
from adapters.ehr.http import Params
from schemas.ehr import EhrResponse
from schemas.fhir_id import fhir_id
from schemas.ports.ehr import LastCheck


class OracleHealthEndpoint(FhirEndpoint):
    """An update must carry the identifier that the server gave, so that the Observation is read before it is amended."""

    def encounter_params(self, subject_id: str) -> Params:
        """One status value; `status` is allowed with `patient`."""
        return [("patient", subject_id), ("status", "in-progress")]

    async def update(
        self,
        resource_id: str,
        version: str | None,
        resource: Mapping[str, Any],
        last_check: LastCheck | None = None,
    ) -> EhrResponse:
        """Read, take over the server's identifier, PUT with the version we wrote (or, unknown, the one just read)."""
        kind = str(resource["resourceType"])
        read = await self._http.ask(f"{kind}.read", "GET", f"{kind}/{resource_id}")
        current = _resource(read, kind)
        if current is None:
            return _not_read(read)
        meta = current.get("meta")
        known = version or (fhir_id(meta.get("versionId")) if isinstance(meta, dict) else None)
        amended = dict(resource) | {"identifier": current.get("identifier", [])}
        return await super().update(resource_id, known, amended, last_check)


def _not_read(read: EhrResponse) -> EhrResponse:
    """The update was not sent. What a read says of itself must not pass for a written update."""
    if read.status is None:
        return read._replace(sent=False)
    return read._replace(headers={}, body=b"", error=read.error or "not_read") if read.status < 300 else read


def _resource(answer: EhrResponse, kind: str) -> dict[str, Any] | None:
    if answer.status != 200 or answer.error is not None:
        return None
    try:
        resource = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return None
    return resource if isinstance(resource, dict) and resource.get("resourceType") == kind else None
