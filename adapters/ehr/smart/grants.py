"""Requests for an access token: client_credentials with a client secret, or with a signed assertion."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from schemas.config import ClientSecretAuth, PrivateKeyAuth, Secret
from schemas.errors import Misconfigured
from schemas.ports.clock import Clock

ReadSecret = Callable[[Secret], str]
JtiSource = Callable[[], str]

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFE = timedelta(minutes=4)
"""SMART allows five minutes; the fifth is for clocks that differ."""


class SecretGrant:
    """client_credentials with id and secret by HTTP Basic (Oracle Health; the scope must be named)."""

    def __init__(self, auth: ClientSecretAuth, secret: str) -> None:
        self.token_url = auth.token_url
        self._scope = auth.scope
        self._basic = httpx.BasicAuth(auth.client_id, secret)

    def __call__(self) -> httpx.Request:
        """The request for a token."""
        form = {"grant_type": "client_credentials", "scope": self._scope}
        request = httpx.Request("POST", self.token_url, data=form, headers={"Accept": "application/json"})
        return next(self._basic.auth_flow(request))


class AssertionGrant:
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
        """The signed statement of who we are, for the token endpoint alone."""
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
        """The request for a token, with a new assertion."""
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": self.assertion(),
        }
        if self._auth.scope is not None:
            form["scope"] = self._auth.scope
        return httpx.Request("POST", self.token_url, data=form, headers={"Accept": "application/json"})
