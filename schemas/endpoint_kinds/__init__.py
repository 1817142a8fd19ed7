"""The kinds of EHR an endpoint can be, one file each: its name is the file's, `CAPABILITIES` are the kind's defaults.

A file in this folder is all that a new kind needs. One that answers with codes of its own adds a dialect
(`streams/delivery/dialects/`); one that is asked in another way than FHIR R4 says adds an adapter (`adapters/ehr/kinds/`).
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Literal

from schemas.capabilities import Capabilities

GENERIC = "fhir"
"""The kind that follows the published rules and no others."""


def _kinds() -> dict[str, Capabilities]:
    names = sorted((module.name for module in iter_modules(__path__)), key=lambda name: (name != GENERIC, name))
    return {name.replace("_", "-"): import_module(f"{__name__}.{name}").CAPABILITIES for name in names}


DEFAULTS: dict[str, Capabilities] = _kinds()
"""Kind → capabilities of such an endpoint, before a site's differences."""

if TYPE_CHECKING:
    EndpointKind = str
else:
    EndpointKind = Literal[tuple(DEFAULTS)]
