"""FHIRPath expressions of templates, parsed once. They read variables only (`%window.value`), never a clock or a resource.

A plain path such as `%window.value`, the most frequent expression, is followed directly; fhirpathpy evaluates the others.
Source: FHIRPath 2.0 (http://hl7.org/fhirpath), FPML strict mode.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import TypeAlias, TypedDict

import fhirpathpy
from antlr4 import CommonTokenStream, InputStream, Token  # type: ignore[import-untyped]
from antlr4.error.ErrorListener import ErrorListener  # type: ignore[import-untyped]
from fhirpathpy.engine.invocations import invocation_registry
from fhirpathpy.parser.generated.FHIRPathLexer import FHIRPathLexer
from fhirpathpy.parser.generated.FHIRPathParser import FHIRPathParser
from fpml.core.guarded_resource import guarded_resource

from mappings.fhir_json import JsonValue

Variables: TypeAlias = Mapping[str, JsonValue]


class ParseNode(TypedDict, total=False):
    """A node of fhirpathpy's parse tree, as far as it is read here."""

    type: str
    text: str
    children: list[ParseNode]


_PLAIN_PATH = re.compile(r"^%(?!ucum\b|context\b|resource\b)[a-z_]\w*(\.[a-z_]\w*)*$")
_IMPURE = frozenset({"now", "today", "timeOfDay", "trace", "resolve"})


class InvalidExpression(ValueError):
    """The text is not a FHIRPath expression, or not one that a template may use."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression: called with variables, it returns a list of JSON values."""

    text: str
    variables: frozenset[str]
    _run: Callable[[Variables], list[JsonValue]] = field(repr=False)

    def __call__(self, variables: Variables) -> list[JsonValue]:
        """The collection that the expression evaluates to; empty if a path leads nowhere."""
        return self._run(variables)


@lru_cache(maxsize=4096)
def compile_expression(text: str) -> Expression:
    """The expression, parsed once. InvalidExpression: bad syntax, or a function whose result depends on more than its input."""
    _check_syntax(text)
    compiled = fhirpathpy.compile(text)
    nodes = list(_nodes(compiled.parsedPath))
    for name in _function_names(nodes):
        if name in _IMPURE:
            raise InvalidExpression(f"`{name}()` is not allowed: the same window must always give the same result")
        if name not in invocation_registry:
            raise InvalidExpression(f"`{name}()` is not a FHIRPath function")
    variables = frozenset(_identifier(node) for node in nodes if node["type"] == "ExternalConstant")
    if not variables.isdisjoint({"context", "resource", "rootResource"}):
        raise InvalidExpression(f"a template has no resource to read, only variables such as %window: {text}")
    if _PLAIN_PATH.match(text):
        return Expression(text, variables, _plain(text))
    return Expression(text, variables - {"ucum"}, lambda given: _json_values(compiled(guarded_resource, given)))


class _Strict(ErrorListener):  # type: ignore[misc]
    """Refuses bad syntax, which fhirpathpy's own parser silently repairs."""

    def syntaxError(self, *_: object) -> None:  # noqa: N802 (the parser's name)
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


def _plain(text: str) -> Callable[[Variables], list[JsonValue]]:
    name, *members = text[1:].split(".")

    def walk(variables: Variables) -> list[JsonValue]:
        found = _as_list(variables[name])
        for member in members:
            found = [deeper for item in found if isinstance(item, dict) for deeper in _as_list(item.get(member))]
        return found

    return walk


def _as_list(value: JsonValue) -> list[JsonValue]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _nodes(node: ParseNode) -> Iterator[ParseNode]:
    for child in node.get("children", ()):
        yield child
        yield from _nodes(child)


def _function_names(nodes: list[ParseNode]) -> Iterator[str]:
    return (_identifier(node) for node in nodes if node["type"] == "Functn")


def _identifier(node: ParseNode) -> str:
    inner = next(child for child in _nodes(node) if child["type"] == "Identifier")
    return str(inner["text"]).strip("`")


def _json_values(found: list[object]) -> list[JsonValue]:
    return [_json_value(value) for value in found]


def _json_value(value: object) -> JsonValue:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {key: _json_value(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return _json_values(value)
    return value if isinstance(value, (str, int, float, bool)) or value is None else str(value)
