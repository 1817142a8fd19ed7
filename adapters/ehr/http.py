"""HTTP requests to one EHR: limits, rate, time-outs, and every response or failure as an `EhrResponse`."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Mapping
from time import monotonic

import httpx

from adapters.ehr.connection_slots import ConnectionSlots
from adapters.ehr.send_guard import SendGuard, WithheldError
from adapters.ehr.smart.token import TokenRefusedError, TokenUnavailableError
from schemas.capabilities import Capabilities
from schemas.ehr import EhrResponse, SearchParameters
from schemas.ports.ehr import LastCheck
from schemas.ports.observer import Observer

LARGEST_RESPONSE_BYTES = 8 * 1024 * 1024
KEEPALIVE_S = 15.0
"""Shorter than servers' own limit: a connection that closes under a POST leaves its outcome unknown."""

_ONE_CONNECTION = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEPALIVE_S)

_log = logging.getLogger(__name__)


class Conversation:
    """Requests to one base URL; their order is the callers'. Never raises for what the other side does."""

    def __init__(
        self,
        name: str,
        base_url: str,
        auth: httpx.Auth | None,
        capabilities: Capabilities,
        observer: Observer,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._name = name
        self._observer = observer
        self._timeout_s = capabilities.timeout_s
        self._pause_s = 1 / capabilities.max_requests_per_s if capabilities.max_requests_per_s else 0.0
        self._next_slot = 0.0
        secure = base_url.startswith("https://")
        tls = _tls() if secure else False
        self._client = httpx.AsyncClient(
            base_url=base_url,
            auth=auth,
            timeout=httpx.Timeout(self._timeout_s, connect=min(self._timeout_s, 10.0)),
            follow_redirects=False,
            headers={"Accept": "application/fhir+json", "User-Agent": "vitalwire"},
            transport=transport
            or ConnectionSlots(
                capabilities.concurrency,
                lambda: httpx.AsyncHTTPTransport(verify=tls, http2=secure, trust_env=False, limits=_ONE_CONNECTION),
            ),
        )
        self.base_url = self._client.base_url

    async def request(
        self,
        operation: str,
        method: str,
        url: str | httpx.URL,
        *,
        params: SearchParameters | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        last_check: LastCheck | None = None,
    ) -> EhrResponse:
        """Send one request and read its whole response; counted and timed under `operation`.

        `last_check` is called when slot, pace, token and connection are there and the next byte would leave.
        """
        await self._pace()
        started_s = monotonic()
        guard = SendGuard(last_check)
        request = self._client.build_request(
            method, url, params=params, content=content, headers=headers, extensions={"trace": guard.trace}
        )
        response = await self._response(request, guard)
        if guard.has_left:
            response = response._replace(request=content)
        status = "none" if response.status is None else str(response.status)
        self._observer.count("ehr_requests_total", endpoint=self._name, operation=operation, status=status)
        elapsed_s = monotonic() - started_s
        self._observer.seconds("ehr_request_seconds", elapsed_s, endpoint=self._name, operation=operation)
        return response

    async def _response(self, request: httpx.Request, guard: SendGuard) -> EhrResponse:
        """The response, or what its absence means."""
        try:
            async with asyncio.timeout(2 * self._timeout_s):  # a trickled response must not block a patient forever
                return await self._exchange(request)
        except TokenRefusedError as refused:
            return EhrResponse(401, {}, b"", sent=False, error=refused.code)
        except TokenUnavailableError as away:
            headers = {} if away.retry_after is None else {"retry-after": away.retry_after}
            return EhrResponse(503, headers, b"", sent=False, error="token_unavailable")
        except WithheldError:
            error = "withheld"
        except TimeoutError:
            error = "timeout"
        except Exception as failure:
            # Of the network, of the other side, or of the HTTP library over what the other side said: no response.
            if not isinstance(failure, httpx.RequestError):
                _log.error("an EHR's response could not be read", extra={"error": type(failure).__name__})
            error = type(failure).__name__
        return EhrResponse(None, {}, b"", sent=guard.may_have_arrived, error=error)

    async def _exchange(self, request: httpx.Request) -> EhrResponse:
        response = await self._client.send(request, stream=True)
        status, headers = response.status_code, dict(response.headers)
        if not 100 <= status <= 599:
            await response.aclose()
            return EhrResponse(None, {}, b"", sent=True, error="no_http_status")
        body = bytearray()
        try:
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > LARGEST_RESPONSE_BYTES:
                    return EhrResponse(status, headers, b"", sent=True, error="too_large")
        except httpx.DecodingError:
            return EhrResponse(status, headers, b"", sent=True, error="undecodable")
        finally:
            await response.aclose()
        return EhrResponse(status, headers, bytes(body), sent=True)

    async def _pace(self) -> None:
        """The configured rate, `max_requests_per_s`, evenly spread."""
        if not self._pause_s:
            return
        now = monotonic()
        slot = max(now, self._next_slot)
        self._next_slot = slot + self._pause_s
        if slot > now:
            await asyncio.sleep(slot - now)

    async def close(self) -> None:
        """Close connections."""
        await self._client.aclose()


def _tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
