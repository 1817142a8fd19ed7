"""The EHRs results are written to, one file a kind; `connect` picks the right one for a configured endpoint."""

from __future__ import annotations

import logging
from collections.abc import Callable

import httpx

from adapters.ehr.epic import EpicEndpoint
from adapters.ehr.fhir import FhirEndpoint
from adapters.ehr.oracle_health import OracleHealthEndpoint
from adapters.ehr.smart import authentication
from schemas.config import Endpoint, Secret
from schemas.errors import Misconfigured
from schemas.ports.clock import Clock
from schemas.ports.ehr import EhrEndpoint
from schemas.ports.observer import Observer

KINDS: dict[str, type[FhirEndpoint]] = {
    "fhir": FhirEndpoint,
    "epic": EpicEndpoint,
    "oracle-health": OracleHealthEndpoint,
}

# These loggers write whole URLs (patient ids) at INFO, and headers (tokens) at DEBUG.
_TALKATIVE = ("httpx", "httpcore", "hpack", "h2")


def connect(
    name: str,
    endpoint: Endpoint,
    read_secret: Callable[[Secret], str],
    clock: Clock,
    observer: Observer,
    *,
    transport: httpx.AsyncBaseTransport | None = None,
) -> EhrEndpoint:
    """The adapter for a configured endpoint. Nothing is sent yet; a missing secret or key is found here."""
    for logger in _TALKATIVE:
        logging.getLogger(logger).setLevel(logging.WARNING)
    kind = KINDS.get(endpoint.kind)
    if kind is None:
        raise Misconfigured(
            f"Endpoint '{name}' is of kind '{endpoint.kind}', which is not written over HTTP. Use one of: {', '.join(KINDS)}."
        )
    auth = authentication(endpoint.auth, endpoint.base_url, read_secret, clock, observer=observer, endpoint=name)
    return kind(name, endpoint, auth, observer, transport=transport)
