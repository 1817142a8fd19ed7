"""Adapters to EHRs; `connect` creates the adapter of a configured endpoint."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules

import httpx

from adapters.ehr import kinds
from adapters.ehr.fhir import FhirEndpoint
from adapters.ehr.smart import authentication
from schemas.config import Endpoint, Secret
from schemas.endpoint_kinds import DEFAULTS
from schemas.errors import Misconfigured
from schemas.ports.clock import Clock
from schemas.ports.ehr import EhrEndpoint
from schemas.ports.observer import Observer

# These loggers write whole URLs (patient ids) at INFO, and headers (tokens) at DEBUG.
_LOGGERS_WITH_PHI = ("httpx", "httpcore", "hpack", "h2")
_NOT_OVER_HTTP = frozenset({"hl7v2"})


def _adapters() -> dict[str, type[FhirEndpoint]]:
    """Kind → adapter: the one in `adapters/ehr/kinds/` with the kind's name, else that of any FHIR server."""
    own = {
        module.name.replace("_", "-"): import_module(f"{kinds.__name__}.{module.name}").ENDPOINT
        for module in iter_modules(kinds.__path__)
    }
    return {kind: own.get(kind, FhirEndpoint) for kind in DEFAULTS if kind not in _NOT_OVER_HTTP}


ADAPTERS = _adapters()


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
    for logger in _LOGGERS_WITH_PHI:
        logging.getLogger(logger).setLevel(logging.WARNING)
    adapter = ADAPTERS.get(endpoint.kind)
    if adapter is None:
        raise Misconfigured(
            f"Endpoint '{name}' is of kind '{endpoint.kind}', which is not supported over HTTP. "
            f"Use one of: {', '.join(ADAPTERS)}."
        )
    auth = authentication(endpoint.auth, endpoint.base_url, read_secret, clock, observer=observer, endpoint=name)
    return adapter(name, endpoint, auth, observer, transport=transport)
