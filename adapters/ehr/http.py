"""One HTTP conversation with an EHR: limits, pace, time-outs, and every answer or silence as an `EhrAnswer`."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Mapping
from time import monotonic

import httpx

from adapters.ehr.connection_slots import ConnectionSlots
from adapters.ehr.departure import Departure, WithheldError
from adapters.ehr.smart import TokenRefusedError, TokenUnavailableError
from schemas.capabilities import Capabilities
from schemas.ehr import EhrResponse
from schemas.ports.ehr import LastCheck
from schemas.ports.observer import Observer

LARGEST_ANSWER_BYTES = 8 * 1024 * 1024
KEEPALIVE_S = 15.0
"""Shorter than servers' own limit: a connection closed under a POST would leave its outcome unknown."""

_ONE = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEPALIVE_S)

_log = logging.getLogger(__name__)
Params = list[tuple[str, str | int | float | bool | None]]


class Conversation:
    """Requests to one base URL, in order of nothing: callers decide. Never raises for what the other side does."""

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
                lambda: httpx.AsyncHTTPTransport(verify=tls, http2=secure, trust_env=False, limits=_ONE),
            ),
        )
        self.base_url = self._client.base_url

    async def ask(
        self,
        operation: str,
        method: str,
        url: str | httpx.URL,
        *,
        params: Params | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        last_check: LastCheck | None = None,
    ) -> EhrResponse:
        """Send one request and read its whole answer; counted and timed under `operation`.

        `last_check` is asked when place, pace, token and connection are there and the next byte would go.
        """
        await self._pace()
        started = monotonic()
        departure = Departure(last_check)
        request = self._client.build_request(
            method, url, params=params, content=content, headers=headers, extensions={"trace": departure.trace}
        )
        try:
            async with asyncio.timeout(2 * self._timeout_s):  # a trickled answer must not hold a patient for ever
                answer = await self._exchange(request)
        except TokenRefusedError as refused:
            answer = EhrResponse(401, {}, b"", sent=False, error=refused.code)
        except TokenUnavailableError as away:
            headers = {} if away.retry_after is None else {"retry-after": away.retry_after}
            answer = EhrResponse(503, headers, b"", sent=False, error="token_unavailable")
        except WithheldError:
            answer = EhrResponse(None, {}, b"", sent=departure.left, error="withheld")
        except TimeoutError:
            answer = EhrResponse(None, {}, b"", sent=departure.left, error="timeout")
        except Exception as error:
            # Of the network, of the other side, or of the HTTP library over what the other side said: no answer.
            if not isinstance(error, httpx.RequestError):
                _log.error("an EHR's answer could not be read", extra={"error": type(error).__name__})
            answer = EhrResponse(None, {}, b"", sent=departure.left, error=type(error).__name__)
        told = "none" if answer.status is None else str(answer.status)
        self._observer.count("ehr_requests_total", endpoint=self._name, operation=operation, status=told)
        self._observer.seconds("ehr_request_seconds", monotonic() - started, endpoint=self._name, operation=operation)
        return answer

    async def _exchange(self, request: httpx.Request) -> EhrResponse:
        response = await self._client.send(request, stream=True)
        if not 100 <= response.status_code <= 599:
            await response.aclose()
            return EhrResponse(None, {}, b"", sent=True, error="no_http_status")
        body = bytearray()
        try:
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > LARGEST_ANSWER_BYTES:
                    return EhrResponse(response.status_code, dict(response.headers), b"", sent=True, error="too_large")
        except httpx.DecodingError:
            return EhrResponse(response.status_code, dict(response.headers), b"", sent=True, error="undecodable")
        finally:
            await response.aclose()
        return EhrResponse(response.status_code, dict(response.headers), bytes(body), sent=True)

    async def _pace(self) -> None:
        """The endpoint's own ceiling of requests a second, evenly spread."""
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
