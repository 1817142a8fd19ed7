"""The sandbox EHR's token endpoint: signed assertions (Epic), client secrets (Oracle Health), and the tokens given out.

Sources: SMART Backend Services; RFC 7523; docs/ehr-behaviour.md §1 to §3.
"""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, RSAKey

from testbed.sandbox_ehr.profile import Profile

CLIENT_ID = "vitalwire-sandbox-client"
KEY_ID = "sandbox-1"
ALGORITHMS = ["RS384", "ES384"]
LONGEST_ASSERTION_S = 300
LONGEST_JTI = 151


class Granted(NamedTuple):
    """The token endpoint's response."""

    status: int
    body: dict[str, Any]


class Login:
    """Knows one client, by its public keys or its secret, and the tokens it was given."""

    def __init__(self, profile: Profile, jwks: Mapping[str, Any] | None = None) -> None:
        self._profile = profile
        self._tokens: dict[str, float] = {}
        self._seen_jti: dict[str, float] = {}
        self.client_secret = secrets.token_urlsafe(24)
        self.private_key_pem: str | None = None
        self.granted = 0
        if jwks is None and profile.login == "assertion":
            key = RSAKey.generate_key(2048, {"kid": KEY_ID})
            self.private_key_pem = key.as_pem(private=True).decode()
            jwks = {"keys": [key.as_dict(private=False)]}
        self._keys = KeySet.import_key_set({"keys": list(jwks["keys"])}) if jwks else None

    def grant(self, form: Mapping[str, str], authorization: str, token_url: str) -> Granted:
        """Grant or refuse a token request."""
        if form.get("grant_type") != "client_credentials":
            return _refused("unsupported_grant_type")
        if self._profile.login == "assertion":
            error = self._assertion_error(form, token_url)
        else:
            error = self._secret_error(form, authorization)
        if error is not None:
            return _refused(error)
        token = secrets.token_urlsafe(32)
        self._tokens[token] = time.monotonic() + self._profile.token_life_s
        self.granted += 1
        scope = form.get("scope") or "system/Observation.c system/Observation.r system/Encounter.r system/Patient.r"
        life_s = self._profile.token_life_s
        return Granted(200, {"access_token": token, "token_type": "bearer", "expires_in": life_s, "scope": scope})

    def admits(self, authorization: str | None) -> bool:
        """Whether a request carries a valid token."""
        if self._profile.login == "none":
            return True
        if authorization is None or authorization[:7].lower() != "bearer ":
            return False
        return self._tokens.get(authorization[7:], 0.0) > time.monotonic()

    def forget_tokens(self) -> None:
        """Revoke every token."""
        self._tokens.clear()

    def _secret_error(self, form: Mapping[str, str], authorization: str) -> str | None:
        expected = base64.b64encode(f"{CLIENT_ID}:{self.client_secret}".encode()).decode()
        if not secrets.compare_digest(authorization, f"Basic {expected}"):
            return "invalid_client"
        return None if form.get("scope") else "invalid_scope"

    def _assertion_error(self, form: Mapping[str, str], token_url: str) -> str | None:
        if form.get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer":
            return "invalid_request"
        try:
            token = jwt.decode(form.get("client_assertion", ""), self._keys or KeySet([]), algorithms=ALGORITHMS)
        except (JoseError, ValueError):
            return "invalid_client"
        claims = token.claims
        known = claims.get("iss") == claims.get("sub") == CLIENT_ID and claims.get("aud") == token_url
        good = known and token.header.get("kid") and self._is_new(claims.get("exp"), claims.get("jti"))
        return None if good else "invalid_client"

    def _is_new(self, expiry: object, jti: object) -> bool:
        """Expires within five minutes, and was not seen before."""
        now = time.time()
        if not isinstance(expiry, int | float) or not now < expiry <= now + LONGEST_ASSERTION_S:
            return False
        if not isinstance(jti, str) or not 0 < len(jti) <= LONGEST_JTI or self._seen_jti.get(jti, 0) > now:
            return False
        self._seen_jti[jti] = float(expiry)
        return True


def _refused(error: str) -> Granted:
    return Granted(401 if error == "invalid_client" else 400, {"error": error})
