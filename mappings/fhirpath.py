"""FHIRPath expressions of templates, parsed once. They see variables only (`%window.value`), never a clock or the world.

A plain path such as `%window.value`, the most frequent expression, is walked directly; anything else goes to fhirpathpy.
Source: FHIRPath 2.0 (http://hl7.org/fhirpath), FPML strict mode.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import fhirpathpy
from fpml.core.guarded_resource import guarded_resource

Variables = Mapping[str, Any]

_PLAIN_PATH = re.compile(r"^%(?!ucum\b|context\b|resource\b)[a-z_]\w*(\.[a-z_]\w*)*$")
_IMPURE = frozenset({"now", "today", "timeOfDay", "trace", "resolve"})


class InvalidExpression(ValueError):
    """The text is not a FHIRPath expression that a template may use."""


@dataclass(frozen=True, slots=True)
class Expression:
    """One compiled expression: called with variables, it gives a list of JSON values."""

    text: str
    variables: frozenset[str]
    _run: Callable[[Variables], list[Any]] = field(repr=False)

    def __call__(self, variables: Variables) -> list[Any]:
        """The collection the expression gives; empty where a path leads nowhere."""
        return self._run(variables)


def compile_expression(text: str) -> Expression:
    """Parse once. InvalidExpression tells what is wrong: syntax, or a function whose answer is not the input's alone."""
    try:
        compiled = fhirpathpy.compile(text)
    except Exception as error:
        raise InvalidExpression(f"not a FHIRPath expression: {text}") from error
    nodes = list(_nodes(compiled.parsedPath))
    for name in _function_names(nodes):
        if name in _IMPURE:
            raise InvalidExpression(f"`{name}()` is not allowed: the same window must always give the same result")
    variables = frozenset(_identifier(node) for node in nodes if node["type"] == "ExternalConstant")
    if not variables.isdisjoint({"context", "resource", "rootResource"}):
        raise InvalidExpression(f"there is no resource to read from in: {text}; use a variable such as %window")
    if _PLAIN_PATH.match(text):
        return Expression(text, variables, _plain(text))
    return Expression(text, variables - {"ucum"}, lambda given: _json_values(compiled(guarded_resource, given)))


def _plain(text: str) -> Callable[[Variables], list[Any]]:
    name, *members = text[1:].split(".")

    def walk(variables: Variables) -> list[Any]:
        found = _as_list(variables[name])
        for member in members:
            found = [deeper for item in found if isinstance(item, dict) for deeper in _as_list(item.get(member))]
        return found

    return walk


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _nodes(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for child in node.get("children", ()):
        yield child
        yield from _nodes(child)


def _function_names(nodes: list[Mapping[str, Any]]) -> Iterator[str]:
    return (_identifier(node) for node in nodes if node["type"] == "Functn")


def _identifier(node: Mapping[str, Any]) -> str:
    inner = next(child for child in _nodes(node) if child["type"] == "Identifier")
    return str(inner["text"]).strip("`")


def _json_values(found: list[Any]) -> list[Any]:
    return [_json_value(value) for value in found]


def _json_value(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {key: _json_value(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return _json_values(value)
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)
