"""The EHRs that the sandbox can simulate: one file each, with its `PROFILE`. A new file needs no registration."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from testbed.sandbox_ehr.profile import Profile


def _profiles() -> dict[str, Profile]:
    found: list[Profile] = [import_module(f"{__name__}.{module.name}").PROFILE for module in iter_modules(__path__)]
    return {profile.name: profile for profile in found}


PROFILES: dict[str, Profile] = _profiles()
"""Name → profile. The name is that of the endpoint's kind (`schemas.endpoint_kinds`)."""
