"""Rules beyond the configuration model: undefined names, codes, units, ranges, secrets, connections without TLS.

Each rule reads the data of the file and yields violations: a path, a message and a remedy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import TypeGuard
from urllib.parse import urlsplit

from mappings.linting.findings import did_you_mean
from mappings.linting.yaml_positions import Path, leaves, value_at
from mappings.observation.profiles import PROFILE_BY_CODE
from mappings.units import ALIASES, KNOWN_UNITS
from schemas.capabilities import given_twice
from schemas.config import duration_ms
from schemas.vitals import BUILT_IN, PANELS

Section = dict[str, object]
Violation = tuple[Path, str, str]
_LOINC_FORM = re.compile(r"^(\d{1,7})-(\d)$")
_SECRET_KEYS = frozenset({"password", "client_secret", "private_key"})
_DAY_MS = 86_400_000


def unknown_endpoints(data: Section) -> Iterator[Violation]:
    """A tenant's endpoint that is not defined."""
    endpoints = section(data, "endpoints")
    for name, tenant in sections_of(data, "tenants"):
        wanted = tenant.get("endpoints")
        for number, endpoint in enumerate(wanted if isinstance(wanted, list) else []):
            if str(endpoint) not in endpoints:
                message = f"tenant '{name}' names endpoint '{endpoint}', which is not under `endpoints:`"
                yield ("tenants", name, "endpoints", number), message, did_you_mean(endpoint, endpoints)


def unknown_vitals(data: Section) -> Iterator[Violation]:
    """A vital that is neither built in nor defined."""
    for name, vital in sections_of(data, "vitals"):
        if name not in BUILT_IN and "definition" not in vital:
            near = did_you_mean(name, BUILT_IN)
            remedy = near if near.startswith("did") else "give it a `definition:` with codes, unit, unit_text and range"
            yield ("vitals", name), f"vital '{name}' is not built in and has no definition", remedy


def definitions(data: Section) -> Iterator[Violation]:
    """Codes and units of a site's own vitals."""
    for name, vital in sections_of(data, "vitals"):
        definition = vital.get("definition")
        if not isinstance(definition, dict):
            continue
        path: Path = ("vitals", name, "definition")
        yield from _unit(definition.get("unit"), (*path, "unit"))
        panel = definition.get("panel")
        if panel is not None and name not in PANELS.get(str(panel), ()):
            yield (*path, "panel"), f"'{name}' is not a member of a panel '{panel}'", "remove `panel:`"
        codes = definition.get("codes")
        for number, code in enumerate(codes if isinstance(codes, list) else []):
            if isinstance(code, dict):
                yield from _loinc(str(code.get("code")), definition.get("unit"), (*path, "codes", number, "code"))


def _unit(unit: object, path: Path) -> Iterator[Violation]:
    if isinstance(unit, str) and unit not in KNOWN_UNITS:
        remedy = f"write '{ALIASES[unit]}'" if unit in ALIASES else did_you_mean(unit, KNOWN_UNITS)
        yield path, f"'{unit}' is not a known UCUM unit", remedy


def _loinc(code: str, unit: object, path: Path) -> Iterator[Violation]:
    match = _LOINC_FORM.match(code)
    if match is None or int(match[2]) != check_digit(match[1]):
        remedy = f"the check digit would be {check_digit(match[1])}; " if match else ""
        yield path, f"'{code}' is not a LOINC code", f"{remedy}look the code up at https://loinc.org"
        return
    profile = PROFILE_BY_CODE.get(code)
    if profile and unit not in profile.units and unit in KNOWN_UNITS:
        allowed = " or ".join(profile.units) or "none, because it is a panel"
        yield path, f"LOINC {code} is {profile.name}, whose unit is {allowed}", "correct the code or the unit"


def check_digit(digits: str) -> int:
    """The last digit of a LOINC code (Mod 10, doubling every second digit from the right).

    >>> check_digit("8867"), check_digit("59408")
    (4, 5)
    """
    total = 0
    for number, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (2 if number % 2 == 0 else 1)
        total += doubled - 9 if doubled > 9 else doubled
    return -total % 10


def ranges(data: Section) -> Iterator[Violation]:
    """Limits in the wrong order."""
    for name, vital in sections_of(data, "vitals"):
        for path in (("range",), ("publish", "outside"), ("definition", "range")):
            limits = value_at(vital, path)
            if _is_pair(limits) and (limits[0] > limits[1] or (limits[0] == limits[1] and path[-1] == "range")):
                yield ("vitals", name, *path), f"{limits} is in the wrong order", f"write [{limits[1]}, {limits[0]}]"


def pace(data: Section) -> Iterator[Violation]:
    """Windows that do not align, schedules that are not a multiple of the window, and panels with unequal timing."""
    for name, vital in sections_of(data, "vitals"):
        window, every = _ms(vital.get("window", "60s")), _ms(value_at(vital, ("publish", "every")))
        if window is not None and (window < 1000 or _DAY_MS % window):
            message = "`window` must be at least 1s and divide a day evenly"
            yield ("vitals", name, "window"), message, "write e.g. 30s, 60s, 5m, 15m or 1h"
        elif window and every is not None and every % window:
            message = f"`every` must be a multiple of the window of {window // 1000} s"
            nearest = max(1, round(every / window)) * window // 1000
            yield ("vitals", name, "publish", "every"), message, f"write e.g. {nearest}s"
    for panel, members in PANELS.items():
        yield from _unequal_timing(section(data, "vitals"), panel, members)


def _unequal_timing(vitals: Section, panel: str, members: tuple[str, ...]) -> Iterator[Violation]:
    given = {member: vitals.get(member) or {} for member in members}
    for path, default in ((("window",), "60s"), (("grace",), "10s"), (("idle",), "30s"), (("publish", "every"), None)):
        values = {member: _ms(value_at(vital, path) or default) for member, vital in given.items()}
        if len(set(values.values())) > 1:
            named = next(member for member in reversed(members) if member in vitals)
            message = f"{' and '.join(members)} form {panel} and must have the same `{path[-1]}`"
            yield ("vitals", named, *path), message, f"give both the same `{path[-1]}`"


def secrets(data: Section) -> Iterator[Violation]:
    """Secrets in the file itself."""
    for path, value in leaves(data):
        if not isinstance(value, str) or (path and value == path[-1]):
            continue
        named = bool(path) and path[-1] in _SECRET_KEYS
        if named or "-----BEGIN" in value:
            remedy = f"keep it out of the configuration: `{path[-1]}: {{file: …}}` or `{{env: …}}`"
            yield path, f"the file contains the secret `{path[-1]}`", remedy
        elif "://" in value and urlsplit(value).password:
            yield path, "the URL contains a password", "remove it, and use `auth:` with a file or environment variable"


def unencrypted_connections(data: Section) -> Iterator[Violation]:
    """Patient data or tokens sent to another machine without TLS."""
    for path, value in leaves(section(data, "endpoints")):
        if isinstance(value, str) and value.startswith(("http://", "mllp://")) and not is_loopback(value):
            scheme = value.split("://", maxsplit=1)[0]
            remedy = f"use {'https' if scheme == 'http' else 'mllps'}://"
            yield ("endpoints", *path), f"{scheme}:// to another machine sends patient data unencrypted", remedy


def is_loopback(url: str) -> bool:
    """Whether the URL stays on this machine."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def vendor_requirements(data: Section) -> Iterator[Violation]:
    """Configuration without which Epic or Oracle Health refuse every request."""
    for name, endpoint in sections_of(data, "endpoints"):
        path: Path = ("endpoints", name)
        if endpoint.get("kind") == "oracle-health" and not _observation_capability(endpoint, "performer"):
            message = "Oracle Health refuses a vital without a performer"
            yield path, message, "add `capabilities: {performer: Practitioner/…}`"
        local = is_loopback(str(endpoint.get("base_url")))
        if endpoint.get("kind") == "epic" and not local and _auth_kind(endpoint) != "private_key_jwt":
            message = "Epic backend access needs a signed assertion (private_key_jwt)"
            remedy = "add `auth: {kind: private_key_jwt, token_url, client_id, key_id, private_key: {file: …}}`"
            yield (*path, "auth") if "auth" in endpoint else path, message, remedy


def repeated_capabilities(data: Section) -> Iterator[Violation]:
    """A capability of Observation that is given flat and by resource type."""
    for name, endpoint in sections_of(data, "endpoints"):
        for key in given_twice(section(endpoint, "capabilities")):
            message = f"`{key}` is given twice, here and under `Observation`"
            yield ("endpoints", name, "capabilities", key), message, "write it under `Observation` only"


def _observation_capability(endpoint: Section, key: str) -> object:
    given = section(endpoint, "capabilities")
    return given.get(key) or section(given, "Observation").get(key)


def _auth_kind(endpoint: Section) -> object:
    return value_at(endpoint, ("auth", "kind"))


def section(data: object, name: str) -> Section:
    """A section of the file; empty if it is missing or not a mapping."""
    found = data.get(name) if isinstance(data, dict) else None
    return found if isinstance(found, dict) else {}


def sections_of(data: object, name: str) -> Iterator[tuple[str, Section]]:
    """The named entries of a section that are mappings."""
    return ((key, value) for key, value in section(data, name).items() if isinstance(value, dict))


def _is_pair(limits: object) -> TypeGuard[list[float]]:
    return (
        isinstance(limits, list)
        and len(limits) == 2
        and all(isinstance(limit, (int, float)) and not isinstance(limit, bool) for limit in limits)
    )


def _ms(text: object) -> int | None:
    try:
        found = duration_ms(text)
    except ValueError:
        return None
    return found if isinstance(found, int) else None


RULES: tuple[Callable[[Section], Iterator[Violation]], ...] = (
    unknown_endpoints,
    unknown_vitals,
    definitions,
    ranges,
    pace,
    secrets,
    unencrypted_connections,
    vendor_requirements,
    repeated_capabilities,
)
