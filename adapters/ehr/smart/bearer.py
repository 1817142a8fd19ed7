"""A bearer token on every request to one endpoint: fetched once for all who wait, refreshed early, replaced when refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import datetime

import httpx

from adapters.ehr.smart.basic import origin
from adapters.ehr.smart.grants import AssertionGrant, SecretGrant
from adapters.ehr.smart.token import Token, TokenRefusedError, TokenUnavailableError, token_from
from schemas.ports.clock import Clock
from schemas.ports.observer import Observer

REFRESH_APART_S = 60.0
"""Oracle Health throttles clients that fetch tokens more often."""


class BearerAuth(httpx.Auth):
    """The token of one endpoint. It goes to the endpoint's own origin only."""

    def __init__(
        self,
        base_url: str,
        grant: SecretGrant | AssertionGrant,
        clock: Clock,
        observer: Observer | None = None,
        endpoint: str = "",
    ) -> None:
        self._origin = origin(httpx.URL(base_url))
        self._grant = grant
        self._clock = clock
        self._observer = observer
        self._endpoint = endpoint
        self._token: Token | None = None
        self._requested_at: datetime | None = None
        self._replaced_at: datetime | None = None
        self._fetching = asyncio.Lock()

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Send with a token; on 401 once more with a new one, unless it was new already."""
        if origin(request.url) != self._origin:
            yield request
            return
        token = self._token
        now = self._clock()
        if token is None or not token.usable(now) or self._refresh_early(token, now):
            async with self._fetching:
                if self._token is token:
                    self._requested_at = now
                    self._token = self._read(await _body((yield self._token_request(request))))
                token = self._token
        response = yield _with(request, token)
        if response.status_code != 401:
            return
        async with self._fetching:
            if self._token is token:
                if not self._may_replace():
                    return
                self._token = None
                self._token = self._read(await _body((yield self._token_request(request))))
            token = self._token
        yield _with(request, token)

    def _token_request(self, behalf: httpx.Request) -> httpx.Request:
        """With the time-outs of the request it is made for."""
        request = self._grant()
        request.extensions = {"timeout": behalf.extensions.get("timeout", {})}
        return request

    def _refresh_early(self, token: Token, now: datetime) -> bool:
        """One request fetches the next token while the others still use the old one; a minute at least between tries."""
        apart = self._requested_at is None or (now - self._requested_at).total_seconds() >= REFRESH_APART_S
        return token.ageing(now) and apart and not self._fetching.locked()

    def _may_replace(self) -> bool:
        """At most one refused token a minute is replaced: an EHR that refuses every token must not be flooded."""
        now = self._clock()
        if self._replaced_at is not None and (now - self._replaced_at).total_seconds() < REFRESH_APART_S:
            return False
        self._replaced_at = now
        return True

    def _read(self, response: httpx.Response) -> Token:
        try:
            token = token_from(response, self._clock())
        except TokenUnavailableError:
            self._count("unavailable")
            raise
        except TokenRefusedError:
            self._count("refused")
            raise
        self._count("granted")
        return token

    def _count(self, outcome: str) -> None:
        if self._observer is not None:
            self._observer.count("token_requests_total", endpoint=self._endpoint, outcome=outcome)


async def _body(response: httpx.Response) -> httpx.Response:
    await response.aread()
    return response


def _with(request: httpx.Request, token: Token | None) -> httpx.Request:
    if token is not None:
        request.headers["Authorization"] = f"Bearer {token.value}"
    return request
