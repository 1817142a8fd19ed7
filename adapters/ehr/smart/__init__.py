"""Access to an EHR: SMART Backend Services (signed assertion), client secret, HTTP Basic, or none, as `httpx.Auth`.

A token lives in memory only and goes to its own endpoint only. Redirects are never followed with it.
Sources: SMART App Launch 2, Backend Services; RFC 7523; docs/ehr-behaviour.md §1 to §3.
"""

from __future__ import annotations

from uuid import uuid4

import httpx

from adapters.ehr.smart.basic import SameOriginBasic
from adapters.ehr.smart.bearer import BearerAuth
from adapters.ehr.smart.grants import AssertionGrant, JtiSource, ReadSecret, SecretGrant
from schemas.config import Auth, BasicAuth, ClientSecretAuth, NoAuth
from schemas.ports.clock import Clock
from schemas.ports.observer import Observer


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
        return SameOriginBasic(base_url, auth.username, read_secret(auth.password))
    grant = (
        SecretGrant(auth, read_secret(auth.client_secret))
        if isinstance(auth, ClientSecretAuth)
        else AssertionGrant(auth, read_secret(auth.private_key), clock, new_jti)
    )
    return BearerAuth(base_url, grant, clock, observer, endpoint)
