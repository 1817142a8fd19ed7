"""The sandbox EHR itself: a FHIR R4 server that refuses what the real ones refuse. A test double of an external system."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from schemas.errors import Misconfigured
from testbed.sandbox_ehr import fault_effects, responses
from testbed.sandbox_ehr.faults import Fault, Faults
from testbed.sandbox_ehr.login import Login
from testbed.sandbox_ehr.profile import Profile
from testbed.sandbox_ehr.profiles import PROFILES
from testbed.sandbox_ehr.rules import Refusal, kept, refusal
from testbed.sandbox_ehr.searching import next_link, search
from testbed.sandbox_ehr.store import Resource, Store, reading_key


class Sandbox:
    """State and handlers of one sandbox EHR."""

    def __init__(
        self, profile: str, *, jwks: Mapping[str, Any] | None = None, encounter_required: bool | None = None
    ) -> None:
        if profile not in PROFILES:
            raise Misconfigured(f"The sandbox EHR has no profile '{profile}'. Choose one of: {', '.join(PROFILES)}.")
        chosen = PROFILES[profile]
        if encounter_required is not None:
            chosen = dataclasses.replace(chosen, encounter_required=encounter_required)
        self.profile: Profile = chosen
        self.store = Store(chosen.id_prefix)
        self.faults = Faults()
        self.login = Login(chosen, jwks)

    def routes(self) -> list[Route]:
        """Its FHIR addresses."""
        base = self.profile.base_path
        return [
            Route(f"{base}/{{kind}}", self.search, methods=["GET"]),
            Route(f"{base}/{{kind}}", self.create, methods=["POST"]),
            Route(f"{base}/{{kind}}/{{id}}", self.read, methods=["GET"]),
            Route(f"{base}/{{kind}}/{{id}}", self.update, methods=["PUT"]),
        ]

    async def _before(self, request: Request, fault: Fault | None) -> Response | None:
        """Checks access and applies faults; a response ends the request before anything is written."""
        if fault is not None:
            await fault_effects.prepare(self.login, fault)
        if not self.login.admits(request.headers.get("authorization")):
            return Response(b"", 401, {"WWW-Authenticate": "Bearer"})
        accept = request.headers.get("accept", "*/*")
        if self.profile.json_only and "json" not in accept and "*/*" not in accept:
            return Response(b"", 406)
        return await fault_effects.instead(self.profile, request, fault) if fault is not None else None

    def _base_url(self, request: Request) -> str:
        return f"http://{request.headers.get('host', '127.0.0.1')}{self.profile.base_path}"

    # -- FHIR -------------------------------------------------------------------------------------------------------

    async def create(self, request: Request) -> Response:
        """POST a resource."""
        fault = self.faults.strike("create", request.path_params["kind"])
        early = await self._before(request, fault)
        if early is not None:
            return early
        response = await self._create(request, fault)
        return await fault_effects.afterwards(request, fault, response)

    async def _create(self, request: Request, fault: Fault | None) -> Response:
        base, kind = self._base_url(request), request.path_params["kind"]
        resource = _body(await request.body(), kind) if kind == "Observation" else None
        if resource is None:
            return self._refuse(
                Refusal(400, "59105", "structure", "the body is not a resource that this server accepts"), base
            )
        condition = request.headers.get("if-none-exist")
        if self.profile.conditional_create and condition is not None:
            matches = self._matching(kind, condition)
            if len(matches) > 1:
                return self._refuse(Refusal(412, None, "multiple-matches", "several match"), base)
            if matches:
                return responses.existing(self.profile, matches[0], base)
        stored = kept(self.profile, resource)
        wrong = self._broken_rule(resource) or self._repeat(stored, fault)
        if wrong is not None:
            return self._refuse(wrong, base)
        resource_id = self.store.new_id()
        if not self.profile.keeps_identifier:
            stored["identifier"] = [{"system": f"urn:sandbox:{self.profile.name}", "value": resource_id}]
        added = self.store.add(stored, resource_id)
        return responses.created(self.profile, added, base, request.headers.get("prefer", ""))

    def _repeat(self, stored: Resource, fault: Fault | None) -> Refusal | None:
        claimed = fault is not None and fault.kind == "already_exists"
        if claimed or (self.profile.refuses_repeat and reading_key(stored) in self.store.readings):
            return Refusal(400, "59189", "duplicate", "Reading already exists")
        return None

    async def update(self, request: Request) -> Response:
        """PUT a resource that exists."""
        fault = self.faults.strike("update", request.path_params["kind"])
        early = await self._before(request, fault)
        if early is not None:
            return early
        response = self._update(request, _body(await request.body(), request.path_params["kind"]))
        return await fault_effects.afterwards(request, fault, response)

    def _update(self, request: Request, resource: Resource | None) -> Response:
        base = self._base_url(request)
        current = self.store.get(request.path_params["kind"], request.path_params["id"])
        wrong = next(self._wrong_with_update(current, resource, request.headers.get("if-match")), None)
        if wrong is not None or current is None or resource is None:
            return self._refuse(wrong or Refusal(404, None, "not-found", "no such resource"), base)
        stored = kept(self.profile, resource)
        if not self.profile.keeps_identifier:
            stored["identifier"] = current["identifier"]
        return responses.existing(self.profile, self.store.replace(current, stored), base)

    def _wrong_with_update(
        self, current: Resource | None, resource: Resource | None, expected: str | None
    ) -> Iterator[Refusal]:
        if not self.profile.updates:
            yield Refusal(405, None, "not-supported", "update is not offered")
        if current is None or resource is None:
            yield Refusal(404 if current is None else 400, None, "not-found", "no such resource, or no body")
            return
        if expected is not None and expected != f'W/"{current["meta"]["versionId"]}"':
            yield Refusal(self.profile.stale_status, None, "conflict", "stale version")
        if self.profile.rules == "oracle-health":
            if expected is None or resource.get("status") not in ("amended", "corrected", "entered-in-error"):
                yield Refusal(422, None, "business-rule", "If-Match and status amended are required")
            if resource.get("identifier") != current["identifier"]:
                yield Refusal(422, None, "required", "identifier is required")
        broken = self._broken_rule(resource)
        if broken is not None:
            yield broken

    async def read(self, request: Request) -> Response:
        """GET one resource."""
        fault = self.faults.strike("read", request.path_params["kind"])
        early = await self._before(request, fault)
        if early is not None:
            return early
        kind, resource_id = request.path_params["kind"], request.path_params["id"]
        base = self._base_url(request)
        if kind == "Patient" and resource_id in self.store.merged and self.profile.rules == "epic":
            survivor = f"Patient/{self.store.merged[resource_id]}"
            return self._refuse(Refusal(302, "4107", "business-rule", "patient was merged", survivor), base)
        resource = self.store.get(kind, resource_id)
        if resource is None:
            return self._refuse(Refusal(404, "4102", "not-found", "no such resource"), base)
        headers = {"ETag": f'W/"{resource["meta"]["versionId"]}"'} if self.profile.etag else None
        return responses.json(200, resource, headers)

    async def search(self, request: Request) -> Response:
        """GET a search."""
        kind, base = request.path_params["kind"], self._base_url(request)
        fault = self.faults.strike("search", kind)
        early = await self._before(request, fault)
        if early is not None:
            return early
        if kind not in self.profile.search_parameters:
            return self._refuse(Refusal(404, "4102", "not-supported", f"{kind} cannot be searched"), base)
        params = request.query_params.multi_items()
        overlap = 1 if fault is not None and fault.kind == "duplicate_pages" else 0
        result = search(self.profile, self.store, kind, params, overlap=overlap)
        if isinstance(result, Refusal):
            return self._refuse(result, base)
        page, offset, unknown = result
        warnings = []
        if self.profile.unknown_parameter == "warn":
            warnings = [
                responses.issue(self.profile, "4122", "not-supported", f"{n} ignored", "warning") for n in unknown
            ]
            if not page:
                warnings.append(responses.issue(self.profile, "4101", "processing", "no results", "warning"))
        following = next_link(f"{base}/{kind}", params, offset) if offset is not None else None
        return responses.bundle(page, base, f"{base}/{kind}?{request.url.query}", following, warnings)

    def _matching(self, kind: str, condition: str) -> list[Resource]:
        result = search(self.profile, self.store, kind, parse_qsl(condition))
        return [] if isinstance(result, Refusal) else result[0]

    def _broken_rule(self, resource: Resource) -> Refusal | None:
        try:
            return refusal(self.profile, self.store, resource)
        except (AttributeError, KeyError, TypeError, IndexError):
            return Refusal(400, "59105", "structure", "an element has the wrong shape")

    def _refuse(self, wrong: Refusal, base: str) -> Response:
        return responses.refused(self.profile, wrong, base)


def _body(content: bytes, kind: str) -> Resource | None:
    try:
        resource = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    return resource if isinstance(resource, dict) and resource.get("resourceType") == kind else None
