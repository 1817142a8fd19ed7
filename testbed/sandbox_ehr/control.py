"""The sandbox EHR's addresses that are not FHIR resources: token, discovery, and `/__sandbox/…` for tests and demos."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl

import orjson
from pydantic import TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from testbed.sandbox_ehr import fault_effects, responses
from testbed.sandbox_ehr.application import Sandbox
from testbed.sandbox_ehr.faults import Fault
from testbed.sandbox_ehr.login import CLIENT_ID, KEY_ID
from testbed.sandbox_ehr.store import seed_patient

TOKEN_PATH = "/oauth2/token"  # noqa: S105 (an address)
_FAULT_LIST = TypeAdapter(list[Fault])
_PATIENTS = TypeAdapter(list[dict[str, Any]])


def app(profile: str, **options: Any) -> Starlette:
    """The sandbox EHR as an ASGI application; its `state.sandbox` is the Sandbox."""
    sandbox = Sandbox(profile, **options)
    base = sandbox.profile.base_path
    routes = [
        Route(f"{base}/metadata", metadata),
        Route(f"{base}/.well-known/smart-configuration", smart_configuration),
        *sandbox.routes(),
        Route(TOKEN_PATH, token, methods=["POST"]),
        Route("/__sandbox/faults", put_faults, methods=["PUT"]),
        Route("/__sandbox/faults", get_faults, methods=["GET"]),
        Route("/__sandbox/patients", put_patients, methods=["PUT"]),
        Route("/__sandbox/resources", resources, methods=["GET"]),
        Route("/__sandbox/client", client, methods=["GET"]),
    ]
    application = Starlette(routes=routes)
    application.state.sandbox = sandbox
    return application


def _sandbox(request: Request) -> Sandbox:
    sandbox: Sandbox = request.app.state.sandbox
    return sandbox


def _token_url(request: Request) -> str:
    return f"http://{request.headers.get('host', '127.0.0.1')}{TOKEN_PATH}"


async def token(request: Request) -> Response:
    """The OAuth2 token endpoint."""
    sandbox = _sandbox(request)
    fault = sandbox.faults.strike("token", "")
    if fault is not None:
        await fault_effects.prepare(sandbox.login, fault)
        early = await fault_effects.instead(sandbox.profile, request, fault)
        if early is not None:
            return early
    form = dict(parse_qsl((await request.body()).decode("ascii", "replace")))
    granted = sandbox.login.grant(form, request.headers.get("authorization", ""), _token_url(request))
    return Response(orjson.dumps(granted.body), granted.status, {"Cache-Control": "no-store"}, "application/json")


async def metadata(request: Request) -> Response:
    """The CapabilityStatement; open to all."""
    return responses.json(200, responses.capability_statement(_sandbox(request).profile))


async def smart_configuration(request: Request) -> Response:
    """SMART discovery; open to all."""
    login = _sandbox(request).profile.login
    body = {
        "token_endpoint": _token_url(request),
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": {
            "assertion": ["private_key_jwt"], "secret": ["client_secret_basic"], "none": [],
        }[login],
        "token_endpoint_auth_signing_alg_values_supported": ["RS384", "ES384"],
        "scopes_supported": ["system/Observation.c", "system/Observation.rs", "system/Encounter.rs"],
        "capabilities": ["client-confidential-asymmetric", "permission-v2"],
        "code_challenge_methods_supported": ["S256"],
    }  # fmt: skip
    return Response(orjson.dumps(body), 200, media_type="application/json")


async def put_faults(request: Request) -> Response:
    """Replace the faults."""
    try:
        _sandbox(request).faults.put(_FAULT_LIST.validate_json(await request.body()))
    except ValidationError as error:
        return PlainTextResponse(str(error), 422)
    return Response(b"", 204)


async def get_faults(request: Request) -> Response:
    """How many requests each fault has affected."""
    return Response(orjson.dumps(_sandbox(request).faults.struck), media_type="application/json")


async def put_patients(request: Request) -> Response:
    """Seed patients: a list of the arguments of `seed_patient`."""
    try:
        for patient in _PATIENTS.validate_json(await request.body()):
            seed_patient(_sandbox(request).store, **patient)
    except (ValidationError, TypeError) as error:
        return PlainTextResponse(str(error), 422)
    return Response(b"", 204)


async def resources(request: Request) -> Response:
    """Every stored resource of one type, as NDJSON."""
    held = list(_sandbox(request).store.by_type[request.query_params.get("type", "Observation")].values())

    async def lines() -> AsyncIterator[bytes]:
        for start in range(0, len(held), 500):
            yield b"".join(orjson.dumps(r) + b"\n" for r in held[start : start + 500])

    return StreamingResponse(lines(), media_type="application/x-ndjson")


async def client(request: Request) -> Response:
    """The credentials of its one client."""
    sandbox = _sandbox(request)
    body = {
        "base_url": f"http://{request.headers.get('host', '127.0.0.1')}{sandbox.profile.base_path}",
        "token_url": _token_url(request),
        "client_id": CLIENT_ID,
        "key_id": KEY_ID,
        "private_key_pem": sandbox.login.private_key_pem,
        "client_secret": sandbox.login.client_secret,
        "login": sandbox.profile.login,
    }
    return Response(orjson.dumps(body), media_type="application/json")
