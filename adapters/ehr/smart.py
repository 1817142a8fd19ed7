"""Access to an EHR: SMART Backend Services (signed assertion), client secret, HTTP Basic, or none, as `httpx.Auth`.

A token lives in memory only and goes to its own endpoint only. Redirects are never followed with it.
Sources: SMART App Launch 2, Backend Services; RFC 7523; docs/ehr-behaviour.md §1 to §3.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from schemas.config import Auth, BasicAuth, ClientSecretAuth, NoAuth, PrivateKeyAuth, Secret
from schemas.errors import Misconfigured
from schemas.ports.clock import Clock
from schemas.ports.observer import Observer

ReadSecret = Callable[[Secret], str]
JtiSource = Callable[[], str]

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFE = timedelta(minutes=4)
"""SMART allows five minutes; the fifth is for clocks that differ."""
REFRESH_APART_S = 60.0
"""Oracle Health throttles clients that fetch tokens more often."""
USUAL_LIFE_S = 300.0
LONGEST_LIFE_S = 24 * 3600.0
_OAUTH_ERROR = re.compile(r"^[a-z_]{1,40}$")
_REFUSING = frozenset({400, 401, 403})
_PASSING = frozenset({"temporarily_unavailable", "server_error"})


class TokenRefusedError(Exception):
    """The token endpoint refused the client; `code` is its OAuth error code, `status` its HTTP status."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"token endpoint answered {status} ({code})")
        self.status = status
        self.code = code


class TokenUnavailableError(Exception):
    """The token endpoint gave neither a token nor a refusal: it is away, busy, or a gateway answers in its place."""

    def __init__(self, status: int, retry_after: str | None) -> None:
        super().__init__(f"token endpoint answered {status}, which gives no token and refuses none")
        self.status = status
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True, repr=False)
class _Token:
    value: str
    issued_at: datetime
    life_s: float

    def usable(self, now: datetime) -> bool:
        return (now - self.issued_at).total_seconds() < self.life_s - min(5.0, self.life_s / 4)

    def ageing(self, now: datetime) -> bool:
        """In the last quarter or minute of its life."""
        return (now - self.issued_at).total_seconds() >= self.life_s - min(60.0, self.life_s / 4)


def authentication(
    auth: Auth,
    base_url: str,
    read_secret: ReadSecret,
    clock: Clock,
    *,
    observer: Observer | None = None,
    endpoint: str = "",
    new_jti: JtiSource = lambda: uuid4().hex,
) -> httpx.Auth | None:
    """What a configured `auth:` section means. Secrets are read now, so that a missing one is found at start."""
    if isinstance(auth, NoAuth):
        return None
    if isinstance(auth, BasicAuth):
        return _SameOriginBasic(base_url, auth.username, read_secret(auth.password))
    fetch = (
        _SecretGrant(auth, read_secret(auth.client_secret))
        if isinstance(auth, ClientSecretAuth)
        else _AssertionGrant(auth, read_secret(auth.private_key), clock, new_jti)
    )
    return BearerAuth(base_url, fetch, clock, observer, endpoint)


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


class _SameOriginBasic(httpx.BasicAuth):
    def __init__(self, base_url: str, username: str, password: str) -> None:
        super().__init__(username, password)
        self._origin = _origin(httpx.URL(base_url))

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        if _origin(request.url) == self._origin:
            request.headers["Authorization"] = self._auth_header
        yield request


class _SecretGrant:
    """client_credentials with id and secret by HTTP Basic (Oracle Health; the scope must be named)."""

    def __init__(self, auth: ClientSecretAuth, secret: str) -> None:
        self.token_url = auth.token_url
        self._scope = auth.scope
        self._basic = httpx.BasicAuth(auth.client_id, secret)

    def __call__(self) -> httpx.Request:
        form = {"grant_type": "client_credentials", "scope": self._scope}
        request = httpx.Request("POST", self.token_url, data=form, headers={"Accept": "application/json"})
        return next(self._basic.auth_flow(request))


class _AssertionGrant:
    """client_credentials with an assertion signed by our private key, new for every request."""

    def __init__(self, auth: PrivateKeyAuth, pem: str, clock: Clock, new_jti: JtiSource) -> None:
        self.token_url = auth.token_url
        self._auth = auth
        self._clock = clock
        self._new_jti = new_jti
        try:
            self._key = (RSAKey if auth.algorithm == "RS384" else ECKey).import_key(pem)
        except (JoseError, ValueError, TypeError):
            raise Misconfigured(
                f"The private key of client '{auth.client_id}' is not a PEM key for {auth.algorithm}. "
                "Write one with `openssl genrsa 3072` (RS384) or `openssl ecparam -name secp384r1 -genkey` (ES384)."
            ) from None
        if not self._key.is_private:
            raise Misconfigured(f"The key of client '{auth.client_id}' is a public key; the private one is needed.")

    def assertion(self) -> str:
        """The signed statement who we are, for the token endpoint alone."""
        now = self._clock()
        header = {"alg": self._auth.algorithm, "typ": "JWT", "kid": self._auth.key_id}
        if self._auth.jku is not None:
            header["jku"] = self._auth.jku
        claims: dict[str, Any] = {
            "iss": self._auth.client_id,
            "sub": self._auth.client_id,
            "aud": self._auth.token_url,
            "jti": self._new_jti(),
            "iat": int(now.timestamp()),
            "exp": int((now + ASSERTION_LIFE).timestamp()),
        }
        return jwt.encode(header, claims, self._key, algorithms=[self._auth.algorithm])

    def __call__(self) -> httpx.Request:
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self.assertion(),
        }
        if self._auth.scope is not None:
            form["scope"] = self._auth.scope
        return httpx.Request("POST", self.token_url, data=form, headers={"Accept": "application/json"})


class BearerAuth(httpx.Auth):
    """A bearer token for one endpoint: fetched once for all who wait, refreshed early, and once when it is refused."""

    def __init__(
        self,
        base_url: str,
        grant: _SecretGrant | _AssertionGrant,
        clock: Clock,
        observer: Observer | None = None,
        endpoint: str = "",
    ) -> None:
        self._origin = _origin(httpx.URL(base_url))
        self._grant = grant
        self._clock = clock
        self._observer = observer
        self._endpoint = endpoint
        self._token: _Token | None = None
        self._asked_at: datetime | None = None
        self._replaced_at: datetime | None = None
        self._one_at_a_time = asyncio.Lock()

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Send with a token; on 401 once more with a new one, unless it was new already."""
        if _origin(request.url) != self._origin:
            yield request
            return
        token = self._token
        now = self._clock()
        if token is None or not token.usable(now) or self._refresh_early(token, now):
            async with self._one_at_a_time:
                if self._token is token:
                    self._asked_at = now
                    self._token = self._read(await _body((yield self._ask(request))))
                token = self._token
        response = yield _with(request, token)
        if response.status_code != 401:
            return
        async with self._one_at_a_time:
            if self._token is token:
                if not self._may_replace():
                    return
                self._token = None
                self._token = self._read(await _body((yield self._ask(request))))
            token = self._token
        yield _with(request, token)

    def _ask(self, behalf: httpx.Request) -> httpx.Request:
        """The token request, as patient as the request it is made for."""
        asking = self._grant()
        asking.extensions = {"timeout": behalf.extensions.get("timeout", {})}
        return asking

    def _refresh_early(self, token: _Token, now: datetime) -> bool:
        """One request fetches the next token while the others still use the old one; a minute at least between tries."""
        apart = self._asked_at is None or (now - self._asked_at).total_seconds() >= REFRESH_APART_S
        return token.ageing(now) and apart and not self._one_at_a_time.locked()

    def _may_replace(self) -> bool:
        """At most one refused token a minute is replaced: an EHR that refuses every token must not be stormed."""
        now = self._clock()
        if self._replaced_at is not None and (now - self._replaced_at).total_seconds() < REFRESH_APART_S:
            return False
        self._replaced_at = now
        return True

    def _read(self, response: httpx.Response) -> _Token:
        """The token; who gives none either refuses the client, which only a person can mend, or is not there to say."""
        answer = _json_object(response.content)
        token = self._token_in(answer or {}) if response.status_code == 200 else None
        if token is not None:
            self._count("granted")
            return token
        code = str((answer or {}).get("error", ""))
        is_page = answer is None and bool(response.content)
        if is_page or response.status_code not in _REFUSING or code in _PASSING:
            self._count("unavailable")
            raise TokenUnavailableError(response.status_code, response.headers.get("retry-after"))
        self._count("refused")
        raise TokenRefusedError(response.status_code, code if _OAUTH_ERROR.match(code) else "no_token")

    def _token_in(self, answer: dict[str, Any]) -> _Token | None:
        value = answer.get("access_token")
        good = isinstance(value, str) and value and value.isascii() and value.isprintable()
        if not good or str(answer.get("token_type", "bearer")).lower() != "bearer":
            return None
        life_s = answer.get("expires_in")
        life_s = float(life_s) if isinstance(life_s, int | float) and life_s > 0 else USUAL_LIFE_S
        return _Token(str(value), self._clock(), min(life_s, LONGEST_LIFE_S))

    def _count(self, outcome: str) -> None:
        if self._observer is not None:
            self._observer.count("token_requests_total", endpoint=self._endpoint, outcome=outcome)


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None


async def _body(response: httpx.Response) -> httpx.Response:
    await response.aread()
    return response


def _with(request: httpx.Request, token: _Token | None) -> httpx.Request:
    if token is not None:
        request.headers["Authorization"] = f"Bearer {token.value}"
    return request
