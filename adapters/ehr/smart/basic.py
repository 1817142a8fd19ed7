"""HTTP Basic for one endpoint, and who counts as that endpoint."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import httpx


def origin(url: httpx.URL) -> tuple[str, str, int | None]:
    """Scheme, host and port: credentials go to no other."""
    return url.scheme, url.host, url.port


class SameOriginBasic(httpx.BasicAuth):
    """User and password, sent to the endpoint's own origin only."""

    def __init__(self, base_url: str, username: str, password: str) -> None:
        super().__init__(username, password)
        self._origin = origin(httpx.URL(base_url))

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Add the header, unless the request goes elsewhere."""
        if origin(request.url) == self._origin:
            request.headers["Authorization"] = self._auth_header
        yield request
