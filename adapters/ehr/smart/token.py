"""An access token, and what the token endpoint's response means: a token, a refusal, or neither."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
import orjson

USUAL_LIFE_S = 300.0
LONGEST_LIFE_S = 24 * 3600.0
_OAUTH_ERROR = re.compile(r"^[a-z_]{1,40}$")
_REFUSING_STATUS = frozenset({400, 401, 403})
_TRANSIENT_ERROR = frozenset({"temporarily_unavailable", "server_error"})


class TokenRefusedError(Exception):
    """The token endpoint refused the client; `code` is its OAuth error code, `status` its HTTP status."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"token endpoint answered {status} ({code})")
        self.status = status
        self.code = code


class TokenUnavailableError(Exception):
    """The token endpoint returned neither a token nor a refusal: it is unavailable, or a gateway responds in its place."""

    def __init__(self, status: int, retry_after: str | None) -> None:
        super().__init__(f"token endpoint answered {status}, which gives no token and refuses none")
        self.status = status
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """A bearer token, and for how long it is good."""

    value: str
    issued_at: datetime
    life_s: float

    def usable(self, now: datetime) -> bool:
        """Whether it outlives a request that is sent now."""
        return (now - self.issued_at).total_seconds() < self.life_s - min(5.0, self.life_s / 4)

    def ageing(self, now: datetime) -> bool:
        """In the last quarter or minute of its life."""
        return (now - self.issued_at).total_seconds() >= self.life_s - min(60.0, self.life_s / 4)


def token_from(response: httpx.Response, now: datetime) -> Token:
    """The token. TokenRefusedError requires a correction; TokenUnavailableError is temporary."""
    body = _json_object(response.content)
    token = _token_in(body or {}, now) if response.status_code == 200 else None
    if token is not None:
        return token
    code = str((body or {}).get("error", ""))
    is_page = body is None and bool(response.content)
    if is_page or response.status_code not in _REFUSING_STATUS or code in _TRANSIENT_ERROR:
        raise TokenUnavailableError(response.status_code, response.headers.get("retry-after"))
    raise TokenRefusedError(response.status_code, code if _OAUTH_ERROR.match(code) else "no_token")


def _token_in(body: dict[str, Any], now: datetime) -> Token | None:
    value = body.get("access_token")
    valid = isinstance(value, str) and value and value.isascii() and value.isprintable()
    if not valid or str(body.get("token_type", "bearer")).lower() != "bearer":
        return None
    life_s = body.get("expires_in")
    life_s = float(life_s) if isinstance(life_s, int | float) and life_s > 0 else USUAL_LIFE_S
    return Token(str(value), now, min(life_s, LONGEST_LIFE_S))


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
