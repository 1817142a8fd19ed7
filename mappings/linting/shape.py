"""The form of a configuration: what the model refuses, told with line, near names and remedy."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError

from mappings.linting.findings import Finding, did_you_mean
from mappings.linting.yaml_positions import Path, PositionedYaml
from schemas.capabilities import Capabilities, ObservationCapabilities, keys_of
from schemas.config import (
    BasicAuth,
    ClientSecretAuth,
    Config,
    Endpoint,
    NoAuth,
    PrivateKeyAuth,
    Publish,
    Secret,
    Telemetry,
    Tenant,
    Vital,
)
from schemas.endpoint_kinds import DEFAULTS
from schemas.vitals import Code, VitalType

AUTH_KINDS: dict[str, type[BaseModel]] = {
    "none": NoAuth,
    "basic": BasicAuth,
    "client_secret_basic": ClientSecretAuth,
    "private_key_jwt": PrivateKeyAuth,
}
_SECTIONS: dict[tuple[str, ...], type[BaseModel]] = {
    (): Config,
    ("tenants", "*"): Tenant,
    ("endpoints", "*"): Endpoint,
    ("endpoints", "*", "capabilities"): Capabilities,
    ("endpoints", "*", "capabilities", "Observation"): ObservationCapabilities,
    ("endpoints", "*", "auth", "password"): Secret,
    ("endpoints", "*", "auth", "client_secret"): Secret,
    ("endpoints", "*", "auth", "private_key"): Secret,
    ("vitals", "*"): Vital,
    ("vitals", "*", "publish"): Publish,
    ("vitals", "*", "definition"): VitalType,
    ("vitals", "*", "definition", "codes", "*"): Code,
    ("telemetry",): Telemetry,
}
_REMEDIES = {
    "list_type": "write a list: `[a, b]`",
    "tuple_type": "write two numbers: `[low, high]`",
    "dict_type": "write a mapping of `key: value` lines, indented under it",
    "model_type": "write a mapping of `key: value` lines, indented under it",
    "float_parsing": "write a number",
    "float_type": "write a number",
    "int_parsing": "write a whole number",
    "bool_parsing": "write true or false",
    "string_type": "put the text in quotes",
    "too_short": "give at least one",
    "union_tag_not_found": f"add `kind:`, one of: {', '.join(AUTH_KINDS)}",
}


class Refusal(NamedTuple):
    """What the model refuses. A `value_error` is of a section as a whole; the mistake is somewhere in it."""

    path: Path
    finding: Finding
    kind: str

    def is_told_by(self, places: Collection[Path]) -> bool:
        """Whether findings at these places tell the same mistake, with its exact place."""
        if self.kind == "value_error":
            return any(place[: len(self.path)] == self.path for place in places)
        return self.path in places or (self.kind == "missing" and self.path[:-1] in places)


def shape_findings(marked: PositionedYaml) -> tuple[list[Refusal], Config | None]:
    """What the model refuses; and the configuration if it refuses nothing."""
    data = {} if marked.data is None else marked.data
    found = list(_capabilities(data, marked))
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            path = _path_in_file(problem["loc"], data)
            # The endpoint's model validates its capabilities too, and reports them without the step `capabilities`.
            if capability_path(path[1:2], path[2:], data) not in {refusal.path for refusal in found}:
                found.append(Refusal(path, _finding(problem, path, data, marked), problem["type"]))
        return found, None
    return found, config


def _capabilities(data: Any, marked: PositionedYaml) -> Iterator[Refusal]:
    """To the configuration model capabilities are a free mapping: they are validated with the defaults of the kind."""
    endpoints = data.get("endpoints") if isinstance(data, dict) else None
    for name, endpoint in endpoints.items() if isinstance(endpoints, dict) else ():
        given = endpoint.get("capabilities") if isinstance(endpoint, dict) else None
        kind = endpoint.get("kind") if isinstance(endpoint, dict) else None
        if not isinstance(given, dict) or not isinstance(kind, str) or kind not in DEFAULTS:
            continue
        try:
            DEFAULTS[kind].overridden(given)
        except ValidationError as error:
            for problem in error.errors(include_url=False, include_input=False):
                path = capability_path((name,), problem["loc"], data)
                yield Refusal(path, _finding(problem, path, data, marked), problem["type"])
        except ValueError:
            continue  # a key given twice: a rule reports it, with its line


def capability_path(endpoint: Path, location: Path, data: Any) -> Path:
    """Where a capability is in the file: a flat key of Observation is validated, and reported, under `Observation`."""
    path: Path = ("endpoints", *endpoint, "capabilities")
    given = _value(data, path)
    is_flat = location[:1] == ("Observation",) and isinstance(given, dict) and location[1:2] and location[1] in given
    return (*path, *(location[1:] if is_flat else location))


def _finding(problem: Any, path: Path, data: Any, marked: PositionedYaml) -> Finding:
    kind, message = problem["type"], str(problem["msg"]).removeprefix("Value error, ")
    name = path[-1] if path else "the file"
    if kind == "extra_forbidden":
        return marked.at(path, f"unknown key '{name}'", did_you_mean(name, _known_keys(path[:-1], data)))
    if kind == "missing":
        return marked.at(path, f"`{name}` is missing", f"add `{name}: …`")
    if kind in {"literal_error", "union_tag_invalid"}:
        expected = str(problem["ctx"].get("expected") or problem["ctx"].get("expected_tags"))
        values = [word.strip().strip("'") for word in expected.replace(" or ", ", ").split(",")]
        place = (*path, "kind") if kind == "union_tag_invalid" else path
        return marked.at(place, f"`{place[-1]}` has a value nobody knows", did_you_mean(_value(data, place), values))
    if kind == "value_error" and ";" in message:
        message, _, remedy = message.partition(";")
        return marked.at(path, f"{name}: {message}", remedy.strip())
    if kind == "value_error" and message.startswith(("write", "name")):
        return marked.at(path, f"{name} has a value that cannot be used", message)
    return marked.at(path, f"{name}: {message}", _REMEDIES.get(kind, "correct the value"))


def _path_in_file(location: tuple[str | int, ...], data: Any) -> Path:
    """The model's location without the steps that stand for a choice between models (the kind of `auth`)."""
    path: list[str | int] = []
    for number, step in enumerate(location):
        is_choice = number == 3 and location[0] == "endpoints" and location[2] == "auth" and step in AUTH_KINDS
        if not is_choice:
            path.append(step)
    return tuple(path)


def _known_keys(path: Path, data: Any) -> list[str]:
    if path[0:1] == ("endpoints",) and path[2:] == ("auth",):
        kind = _value(data, (*path, "kind"))
        return list(AUTH_KINDS.get(str(kind), NoAuth).model_fields)
    for pattern, model in _SECTIONS.items():
        if len(pattern) == len(path) and all(p in ("*", step) for p, step in zip(pattern, path, strict=True)):
            return keys_of(model) + (keys_of(ObservationCapabilities) if model is Capabilities else [])
    return []


def _value(data: Any, path: Path) -> Any:
    for step in path:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return None
    return data
