"""Any FHIR R4 server, by its published rules. Epic and Oracle Health differ from it in their own files.

Sources: FHIR R4 http.html (create, update, conditional create, search); docs/ehr-behaviour.md §5.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
import orjson

from adapters.ehr.encounters import Encounter, active_encounters, choose
from adapters.ehr.http import Conversation, Params
from schemas.config import Endpoint
from schemas.ehr import EhrResponse
from schemas.fhir_id import fhir_id
from schemas.operation import Intent
from schemas.ports.ehr import LastCheck
from schemas.ports.observer import Observer

ENCOUNTER_KEPT_S = 60.0
ENCOUNTERS_KEPT = 10_000
MOST_PAGES = 20
_JSON = {"Content-Type": "application/fhir+json"}


class _Looked(NamedTuple):
    """A patient's encounters as they were at a moment, and how long they are kept."""

    until_s: float
    looked_at: datetime
    encounters: tuple[Encounter, ...]


class FhirEndpoint:
    """Writes Observations to a FHIR R4 server and finds them again."""

    def __init__(
        self,
        name: str,
        endpoint: Endpoint,
        auth: httpx.Auth | None,
        observer: Observer,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.capabilities = endpoint.matrix
        self._http = Conversation(name, endpoint.base_url, auth, self.capabilities, observer, transport)
        self._encounters: dict[str, _Looked] = {}

    # -- the port ---------------------------------------------------------------------------------------------------

    async def active_encounter(self, subject_id: str, at: datetime) -> tuple[str | None, EhrResponse | None]:
        """The patient's encounter of that moment. What a search brought is kept for a minute, but never an absence.

        Nor does it tell of moments after it: another encounter may have begun.
        """
        kept = self._encounters.get(subject_id)
        if kept is not None and monotonic() < kept.until_s and at <= kept.looked_at:
            known = choose(kept.encounters, at)
            if known is not None:
                return known, None
        looked_at = datetime.now(UTC)
        found, answer = await self._search("Encounter", self.encounter_params(subject_id))
        if answer.error is not None:
            return None, answer
        encounters = active_encounters(found, subject_id)
        if len(self._encounters) >= ENCOUNTERS_KEPT:
            self._encounters.clear()
        self._encounters[subject_id] = _Looked(monotonic() + ENCOUNTER_KEPT_S, looked_at, encounters)
        return choose(encounters, at), answer

    async def create(
        self, resource: Mapping[str, Any], intent: Intent, last_check: LastCheck | None = None
    ) -> EhrResponse:
        """POST once; conditionally where the server declares it."""
        headers = dict(_JSON)
        identifier = _identifier(resource)
        if self.capabilities.of(intent.resource_type).conditional_create and identifier is not None:
            headers["If-None-Exist"] = f"identifier={quote(identifier, safe=':')}"
        kind = intent.resource_type
        answer = await self._http.ask(
            f"{kind}.create", "POST", kind, content=orjson.dumps(resource), headers=headers, last_check=last_check
        )
        if answer.status is not None and 400 <= answer.status < 500:
            self._encounters.pop(intent.subject_id, None)  # it may have closed since it was looked up
        return answer

    async def update(
        self,
        resource_id: str,
        version: str | None,
        resource: Mapping[str, Any],
        last_check: LastCheck | None = None,
    ) -> EhrResponse:
        """PUT an amendment, of the version we know."""
        kind = str(resource["resourceType"])
        headers = _JSON | ({"If-Match": f'W/"{version}"'} if version is not None else {})
        body = orjson.dumps(dict(resource) | {"id": resource_id})
        url = f"{kind}/{resource_id}"
        return await self._http.ask(f"{kind}.update", "PUT", url, content=body, headers=headers, last_check=last_check)

    async def find(self, intent: Intent) -> tuple[list[Mapping[str, Any]], EhrResponse]:
        """By our identifier where the server finds it, else by patient, code and time."""
        identifier = _identifier(intent.payload)
        if self.capabilities.of(intent.resource_type).identifier_search and identifier is not None:
            return await self._search(intent.resource_type, [("identifier", identifier)])
        return await self._search(intent.resource_type, self.find_params(intent))

    async def close(self) -> None:
        """Close connections."""
        await self._http.close()

    # -- what another kind may say differently ------------------------------------------------------------------------

    def encounter_params(self, subject_id: str) -> Params:
        """How encounters that may be active are searched."""
        return [("patient", subject_id), ("status", "in-progress,arrived,triaged,onleave")]

    def find_params(self, intent: Intent) -> Params:
        """Patient, code and the span of time; seconds around it, for servers that round."""
        coding = intent.payload["code"]["coding"][0]
        first, last = _span(intent.payload)
        around = timedelta(seconds=1)
        return [
            ("patient", intent.subject_id),
            ("code", f"{coding['system']}|{coding['code']}"),
            ("date", f"ge{(first - around).isoformat()}"),
            ("date", f"le{(last + around).isoformat()}"),
        ]

    # -- searching --------------------------------------------------------------------------------------------------

    async def _search(self, kind: str, params: Params) -> tuple[list[Mapping[str, Any]], EhrResponse]:
        """Every page, each resource once (pages may repeat). `answer.error` is set unless the result is complete."""
        found: dict[str, Mapping[str, Any]] = {}
        url: str | httpx.URL = kind
        for _page in range(MOST_PAGES):
            answer = await self._http.ask(f"{kind}.search", "GET", url, params=params if url == kind else None)
            bundle = _bundle(answer)
            if bundle is None:
                return list(found.values()), answer._replace(error=answer.error or "not_searched")
            for entry in _objects(bundle.get("entry")):
                resource = entry.get("resource")
                if isinstance(resource, dict) and resource.get("resourceType") == kind:
                    found[fhir_id(resource.get("id")) or f"nameless {len(found)}"] = resource
            following = _next(bundle)
            if following is None:
                return list(found.values()), answer
            joined = self._within(following)
            if joined is None:
                return list(found.values()), answer._replace(error="foreign_page")
            url = joined
        return list(found.values()), answer._replace(error="too_many_pages")

    def _within(self, link: str) -> httpx.URL | None:
        """The next page's address, only if it is this very server: a token goes nowhere else."""
        base = self._http.base_url
        try:
            url = base.join(link)
        except httpx.InvalidURL:
            return None
        same = (url.scheme, url.host, url.port) == (base.scheme, base.host, base.port)
        return url if same and url.path.startswith(base.path.rstrip("/")) else None


def _bundle(answer: EhrResponse) -> dict[str, Any] | None:
    if answer.status != 200 or answer.error is not None:
        return None
    try:
        bundle = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return None
    return bundle if isinstance(bundle, dict) and bundle.get("resourceType") == "Bundle" else None


def _next(bundle: Mapping[str, Any]) -> str | None:
    return next((str(link.get("url")) for link in _objects(bundle.get("link")) if link.get("relation") == "next"), None)


def _objects(value: object) -> list[dict[str, Any]]:
    """The objects of what should be a list of objects; an EHR may say anything."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _identifier(resource: Mapping[str, Any]) -> str | None:
    """`system|value` of our identifier, if the resource carries it."""
    for identifier in resource.get("identifier") or ():
        if identifier.get("system") and identifier.get("value"):
            return f"{identifier['system']}|{identifier['value']}"
    return None


def _span(resource: Mapping[str, Any]) -> tuple[datetime, datetime]:
    period = resource.get("effectivePeriod")
    if period:
        return _instant(period["start"]), _instant(period["end"])
    return _instant(resource["effectiveDateTime"]), _instant(resource["effectiveDateTime"])


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(re.sub(r"Z$", "+00:00", text))
