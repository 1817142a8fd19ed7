"""FHIRPath expressions of templates, parsed once. They see variables only (`%window.value`), never a clock or the world.

A plain path such as `%window.value`, the most frequent expression, is walked directly; anything else goes to fhirpathpy.
Source: FHIRPath 2.0 (http://hl7.org/fhirpath), FPML strict mode.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Any

import fhirpathpy
from antlr4 import CommonTokenStream, InputStream, Token  # type: ignore[import-untyped]
from antlr4.error.ErrorListener import ErrorListener  # type: ignore[import-untyped]
from fhirpathpy.engine.invocations import invocation_registry
from fhirpathpy.parser.generated.FHIRPathLexer import FHIRPathLexer
from fhirpathpy.parser.generated.FHIRPathParser import FHIRPathParser
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


@lru_cache(maxsize=4096)
def compile_expression(text: str) -> Expression:
    """Parse once. InvalidExpression tells what is wrong: syntax, or a function whose answer is not the input's alone."""
    _check_syntax(text)
    compiled = fhirpathpy.compile(text)
    nodes = list(_nodes(compiled.parsedPath))
    for name in _function_names(nodes):
        if name in _IMPURE:
            raise InvalidExpression(f"`{name}()` is not allowed: the same window must always give the same result")
        if name not in invocation_registry:
            raise InvalidExpression(f"`{name}()` is no FHIRPath function")
    variables = frozenset(_identifier(node) for node in nodes if node["type"] == "ExternalConstant")
    if not variables.isdisjoint({"context", "resource", "rootResource"}):
        raise InvalidExpression(f"there is no resource to read from in: {text}; use a variable such as %window")
    if _PLAIN_PATH.match(text):
        return Expression(text, variables, _plain(text))
    return Expression(text, variables - {"ucum"}, lambda given: _json_values(compiled(guarded_resource, given)))


class _Strict(ErrorListener):  # type: ignore[misc]
    """fhirpathpy's own parser repairs what it cannot read, in silence; a template must say what it means."""

    def syntaxError(self, *_: Any) -> None:  # noqa: N802 (the parser's name)
        raise InvalidExpression


def _check_syntax(text: str) -> None:
    lexer = FHIRPathLexer(InputStream(text))
    tokens = CommonTokenStream(lexer)
    parser = FHIRPathParser(tokens)
    for stage in (lexer, parser):
        stage.removeErrorListeners()
        stage.addErrorListener(_Strict())
    try:
        parser.expression()
    except InvalidExpression:
        raise InvalidExpression(f"not a FHIRPath expression: {text}") from None
    if tokens.LA(1) != Token.EOF:
        raise InvalidExpression(f"not a FHIRPath expression after '{tokens.LT(-1).text}': {text}")


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
