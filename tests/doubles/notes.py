"""A second kind of result, and an EHR in memory that takes it: FHIR Communications, which have no status, code or time."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from pydantic import Field

from mappings.fhir_json import version_of
from mappings.findings import ElementFinding
from schemas.capabilities import Capabilities, ResourceCapabilities
from schemas.config import Config
from schemas.ehr import EhrResponse, SearchMatches, SearchParameters
from schemas.ports.ehr import LastCheck


class NoteCapabilities(Capabilities):
    communication: ResourceCapabilities = Field(ResourceCapabilities(encounter="required"), alias="Communication")


class NoteKind:
    """Rendered from a text; amended by a number of its own; searched by its topic."""

    resource_type = "Communication"
    charted_action = "note.charted"

    def renderer(
        self, config: Config, endpoint: str, template: str | None = None
    ) -> Callable[[str, str], dict[str, Any]]:
        def render(text: str, subject_id: str) -> dict[str, Any]:
            payload = [{"contentString": text}]
            return {"resourceType": "Communication", "topic": "t-1", "recipient": subject_id, "payload": payload}

        return render

    def check(self, resource: Mapping[str, Any], capabilities: ResourceCapabilities) -> list[ElementFinding]:
        return []

    def search_parameters(self, resource: Mapping[str, Any], capabilities: ResourceCapabilities) -> SearchParameters:
        return (("topic", str(resource["topic"])),)

    def same_as(self, meant: Mapping[str, Any], candidates: Sequence[Mapping[str, Any]]) -> SearchMatches:
        same = tuple(version_of(one) for one in candidates if one["payload"] == meant["payload"])
        return SearchMatches(same, len(candidates) - len(same))

    def as_original(self, resource: Mapping[str, Any]) -> dict[str, Any]:
        return {**resource, "revision": 1}

    def as_amendment(self, resource: Mapping[str, Any]) -> dict[str, Any]:
        return {**resource, "revision": 2}

    def with_encounter(self, resource: Mapping[str, Any], reference: str) -> dict[str, Any]:
        return {**resource, "about": reference}


class MemoryEhr:
    """Implements `EhrEndpoint`. `lose_next` commits the next create and loses the response."""

    def __init__(self) -> None:
        self.resources: dict[str, dict[str, Any]] = {}
        self.searches: list[tuple[str, SearchParameters]] = []
        self.lose_next = False

    async def active_encounter(self, subject_id: str, at: datetime) -> tuple[str | None, EhrResponse | None]:
        return f"Encounter/enc-{subject_id}", None

    def forget_encounters(self, subject_id: str) -> None:
        pass

    async def create(self, resource: Mapping[str, Any], last_check: LastCheck | None = None) -> EhrResponse:
        assert last_check is not None
        assert last_check()
        resource_id = f"n{len(self.resources) + 1}"
        self.resources[resource_id] = {**resource, "id": resource_id, "meta": {"versionId": "1"}}
        if self.lose_next:
            self.lose_next = False
            return EhrResponse(None, {}, b"", sent=True, error="lost")
        return EhrResponse(201, {"location": f"{resource['resourceType']}/{resource_id}"}, b"", sent=True)

    async def update(
        self, resource_id: str, version: str | None, resource: Mapping[str, Any], last_check: LastCheck | None = None
    ) -> EhrResponse:
        self.resources[resource_id] = {**resource, "id": resource_id, "meta": {"versionId": "2"}}
        return EhrResponse(200, {}, orjson.dumps(self.resources[resource_id]), sent=True)

    async def search(
        self, resource_type: str, parameters: SearchParameters
    ) -> tuple[Sequence[Mapping[str, Any]], EhrResponse]:
        self.searches.append((resource_type, parameters))
        return list(self.resources.values()), EhrResponse(200, {}, b'{"resourceType":"Bundle"}', sent=True)

    async def close(self) -> None:
        pass


NOTES = NoteKind()
