"""The form of a configuration: what its model refuses, with line, similar names and remedy."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mappings.linting.findings import Finding, did_you_mean
from mappings.linting.yaml_positions import Path, PositionedYaml, value_at
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
    **{("endpoints", "*", "capabilities", key): model for key, model in Capabilities.resource_models().items()},
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


class ShapeViolation(NamedTuple):
    """A violation of the model. A `value_error` refers to a whole section; the mistake is somewhere in it."""

    path: Path
    finding: Finding
    kind: str

    def is_covered_by(self, paths: Collection[Path]) -> bool:
        """Whether findings at these paths report the same mistake, with its exact position."""
        if self.kind == "value_error":
            return any(path[: len(self.path)] == self.path for path in paths)
        return self.path in paths or (self.kind == "missing" and self.path[:-1] in paths)


def shape_violations(document: PositionedYaml) -> tuple[list[ShapeViolation], Config | None]:
    """Every violation of the model; and the configuration if there is none."""
    data = {} if document.data is None else document.data
    found = list(_capabilities(data, document))
    try:
        config = Config.model_validate(data)
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            path = _path_in_file(problem["loc"])
            # The endpoint's model validates its capabilities too, and reports them without the step `capabilities`.
            if capability_path(path[1:2], path[2:], data) not in {violation.path for violation in found}:
                found.append(ShapeViolation(path, _finding(problem, path, data, document), problem["type"]))
        return found, None
    return found, config


def _capabilities(data: object, document: PositionedYaml) -> Iterator[ShapeViolation]:
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
                yield ShapeViolation(path, _finding(problem, path, data, document), problem["type"])
        except ValueError:
            continue  # a key given twice: a rule reports it, with its line


def capability_path(endpoint: Path, location: Path, data: object) -> Path:
    """Where a capability is in the file: a flat key of Observation is validated, and reported, under `Observation`."""
    path: Path = ("endpoints", *endpoint, "capabilities")
    given = value_at(data, path)
    is_flat = location[:1] == ("Observation",) and isinstance(given, dict) and location[1:2] and location[1] in given
    return (*path, *(location[1:] if is_flat else location))


def _finding(problem: ErrorDetails, path: Path, data: object, document: PositionedYaml) -> Finding:
    kind, message = problem["type"], problem["msg"].removeprefix("Value error, ")
    name = path[-1] if path else "the file"
    if kind == "extra_forbidden":
        return document.at(path, f"unknown key '{name}'", did_you_mean(name, _known_keys(path[:-1], data)))
    if kind == "missing":
        return document.at(path, f"`{name}` is missing", f"add `{name}: …`")
    if kind in {"literal_error", "union_tag_invalid"}:
        return _unknown_value(problem, path, data, document)
    if kind == "value_error" and ";" in message:
        message, _, remedy = message.partition(";")
        return document.at(path, f"{name}: {message}", remedy.strip())
    if kind == "value_error" and message.startswith(("write", "name")):
        return document.at(path, f"{name} has an invalid value", message)
    return document.at(path, f"{name}: {message}", _REMEDIES.get(kind, "correct the value"))


def _unknown_value(problem: ErrorDetails, path: Path, data: object, document: PositionedYaml) -> Finding:
    """A value that is none of a fixed set."""
    expected = str(problem["ctx"].get("expected") or problem["ctx"].get("expected_tags"))
    values = [word.strip().strip("'") for word in expected.replace(" or ", ", ").split(",")]
    where = (*path, "kind") if problem["type"] == "union_tag_invalid" else path
    return document.at(where, f"`{where[-1]}` has an unknown value", did_you_mean(value_at(data, where), values))


def _path_in_file(location: Path) -> Path:
    """The model's location without the steps that name a choice between models (the kind of `auth`)."""
    path: list[str | int] = []
    for number, step in enumerate(location):
        is_choice = number == 3 and location[0] == "endpoints" and location[2] == "auth" and step in AUTH_KINDS
        if not is_choice:
            path.append(step)
    return tuple(path)


def _known_keys(path: Path, data: object) -> list[str]:
    if path[0:1] == ("endpoints",) and path[2:] == ("auth",):
        kind = value_at(data, (*path, "kind"))
        return list(AUTH_KINDS.get(str(kind), NoAuth).model_fields)
    for pattern, model in _SECTIONS.items():
        if len(pattern) == len(path) and all(p in ("*", step) for p, step in zip(pattern, path, strict=True)):
            return keys_of(model) + (keys_of(ObservationCapabilities) if model is Capabilities else [])
    return []
