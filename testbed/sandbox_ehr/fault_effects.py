"""The effect of a fault on a request: before it is processed, instead of that, or afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from testbed.sandbox_ehr import responses
from testbed.sandbox_ehr.faults import Fault
from testbed.sandbox_ehr.login import Login
from testbed.sandbox_ehr.profile import Profile

FOR_EVER_S = 3600.0
_ISSUES = {
    "throttled": (429, "throttled"),
    "unavailable": (503, "transient"),
    "error": (500, "exception"),
    "conflict": (409, "conflict"),
    "unprocessable": (422, "invalid"),
}
_EMPTY = {"unauthorized": 401, "forbidden": 403}
Reset = Callable[[Request], None]


async def prepare(login: Login, fault: Fault) -> None:
    """The effect before the request is processed."""
    if fault.kind == "expired_token":
        login.forget_tokens()
    if fault.kind == "slow":
        await asyncio.sleep(fault.delay_s)


async def instead(profile: Profile, request: Request, fault: Fault) -> Response | None:
    """The response that replaces processing; None: the request is processed."""
    waiting = {"Retry-After": fault.retry_after} if fault.retry_after is not None else None
    if fault.kind in _ISSUES:
        status, code = _ISSUES[fault.kind]
        body = responses.outcome(responses.issue(profile, None, code, f"fault: {fault.kind}"))
        return responses.json(status, body, waiting)
    if fault.kind in _EMPTY:
        return Response(b"", _EMPTY[fault.kind])
    if fault.kind == "redirect":
        return Response(b"", 302, {"Location": f"{request.url.path}/elsewhere"})
    if fault.kind == "html":
        return Response(b"<html><title>Sign in</title></html>", 200, media_type="text/html")
    if fault.kind == "reset":
        await _reset(request)
    return None


async def afterwards(request: Request, fault: Fault | None, response: Response) -> Response:
    """The response after processing, as the fault leaves it."""
    if fault is None:
        return response
    if fault.kind == "commit_then_timeout":
        await asyncio.sleep(FOR_EVER_S)
    if fault.kind == "commit_then_reset":
        await _reset(request)
    return Response(b"", 500) if fault.kind == "commit_then_error" else response


async def _reset(request: Request) -> None:
    """Reset the TCP connection. In-process there is none: the request then never ends."""
    reset: Reset | None = getattr(request.app.state, "reset_connection", None)
    if reset is not None:
        reset(request)
    await asyncio.sleep(FOR_EVER_S)
