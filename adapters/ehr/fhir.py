"""Any FHIR R4 server, by its published rules. What other EHRs do differently is in `adapters/ehr/kinds/`.

Sources: FHIR R4 http.html (create, update, conditional create, search); docs/ehr-behaviour.md §5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
import orjson

from adapters.ehr.bodies import entries, next_link, resource_of
from adapters.ehr.encounter_cache import EncounterCache
from adapters.ehr.encounters import active_encounters, choose
from adapters.ehr.http import Conversation
from mappings.resource_identity import identifier_token, with_id
from schemas.config import Endpoint
from schemas.ehr import EhrResponse, SearchParameters
from schemas.fhir_id import fhir_id
from schemas.ports.ehr import LastCheck
from schemas.ports.observer import Observer

MOST_PAGES = 20
_JSON = {"Content-Type": "application/fhir+json"}


class FhirEndpoint:
    """Writes resources to a FHIR R4 server and searches them."""

    def __init__(
        self,
        name: str,
        endpoint: Endpoint,
        auth: httpx.Auth | None,
        observer: Observer,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._capabilities = endpoint.matrix
        self._http = Conversation(name, endpoint.base_url, auth, self._capabilities, observer, transport)
        self._encounters = EncounterCache()

    # -- the port ---------------------------------------------------------------------------------------------------

    async def active_encounter(self, subject_id: str, at: datetime) -> tuple[str | None, EhrResponse | None]:
        """The patient's encounter at that moment, from the cache if it is known there."""
        known = self._encounters.at(subject_id, at)
        if known is not None:
            return known, None
        looked_up_at = datetime.now(UTC)
        found, response = await self.search("Encounter", self.encounter_parameters(subject_id))
        if response.error is not None:
            return None, response
        encounters = active_encounters(found, subject_id)
        self._encounters.put(subject_id, looked_up_at, encounters)
        return choose(encounters, at), response

    def forget_encounters(self, subject_id: str) -> None:
        """The next look-up searches again."""
        self._encounters.forget(subject_id)

    async def create(self, resource: Mapping[str, Any], last_check: LastCheck | None = None) -> EhrResponse:
        """POST once; conditionally where the server declares it."""
        resource_type = str(resource["resourceType"])
        headers = dict(_JSON)
        token = identifier_token(resource)
        if self._capabilities.of(resource_type).conditional_create and token is not None:
            headers["If-None-Exist"] = f"identifier={quote(token, safe=':')}"
        body = orjson.dumps(resource)
        return await self._http.request(
            f"{resource_type}.create", "POST", resource_type, content=body, headers=headers, last_check=last_check
        )

    async def update(
        self,
        resource_id: str,
        version: str | None,
        resource: Mapping[str, Any],
        last_check: LastCheck | None = None,
    ) -> EhrResponse:
        """PUT an amendment of the version we know."""
        resource_type = str(resource["resourceType"])
        headers = _JSON | ({"If-Match": f'W/"{version}"'} if version is not None else {})
        body = orjson.dumps(with_id(resource, resource_id))
        url = f"{resource_type}/{resource_id}"
        return await self._http.request(
            f"{resource_type}.update", "PUT", url, content=body, headers=headers, last_check=last_check
        )

    async def search(
        self, resource_type: str, parameters: SearchParameters
    ) -> tuple[Sequence[Mapping[str, Any]], EhrResponse]:
        """Every page, each resource once (pages may repeat). `error` is set unless the result is complete."""
        found: dict[str, Mapping[str, Any]] = {}
        url: str | httpx.URL = resource_type
        for page in range(MOST_PAGES):
            response = await self._http.request(
                f"{resource_type}.search", "GET", url, params=None if page else parameters
            )
            bundle = resource_of(response, "Bundle")
            if bundle is None:
                return list(found.values()), response._replace(error=response.error or "not_searched")
            for resource in entries(bundle, resource_type):
                found[fhir_id(resource.get("id")) or f"nameless {len(found)}"] = resource
            following = next_link(bundle)
            if following is None:
                return list(found.values()), response
            joined = self._within(following)
            if joined is None:
                return list(found.values()), response._replace(error="foreign_page")
            url = joined
        return list(found.values()), response._replace(error="too_many_pages")

    async def close(self) -> None:
        """Close connections."""
        await self._http.close()

    # -- what another kind may ask differently ------------------------------------------------------------------------

    def encounter_parameters(self, subject_id: str) -> SearchParameters:
        """How encounters that may be active are searched."""
        return (("patient", subject_id), ("status", "in-progress,arrived,triaged,onleave"))

    def _within(self, link: str) -> httpx.URL | None:
        """The next page's address if it is on this server, else None: the access token is never sent to another server."""
        base = self._http.base_url
        try:
            url = base.join(link)
        except httpx.InvalidURL:
            return None
        same = (url.scheme, url.host, url.port) == (base.scheme, base.host, base.port)
        return url if same and url.path.startswith(base.path.rstrip("/")) else None
