"""Compiles the text of a template to a tree of nodes; every mistake has its path.

A template is JSON or YAML whose strings hold `{{ FHIRPath }}` (one value), `{{+ FHIRPath +}}` (null is kept) or
`{[ FHIRPath ]}` (all values), and whose keys may be `{% if … %}` with `{% else %}`, `{% for item in … %}`, `{% merge %}` or
`{% assign %}`. FPML's context blocks are not supported: they read a resource, and our templates read variables only
(strict mode).
"""

from __future__ import annotations

import re

from mappings.fhir_json import JsonValue
from mappings.template.fhirpath import InvalidExpression, compile_expression
from mappings.template.nodes import (
    ABSENT,
    Assigned,
    Choice,
    Evaluated,
    Fixed,
    Items,
    Loop,
    Members,
    Node,
    Rendered,
    Text,
)

_MANY = re.compile(r"^{\[\s*([\s\S]+?)\s*\]}$")
_ONE = re.compile(r"{{(\+?)\s*([\s\S]+?)\s*\+?}}")
_IF = re.compile(r"^{%\s*if\s+(.+?)\s*%}$", re.DOTALL)
_ELSE = re.compile(r"^{%\s*else\s*%}$")
_FOR = re.compile(r"^{%\s*for\s+(?:(\w+)\s*,\s*)?(\w+)\s+in\s+(.+?)\s*%}$", re.DOTALL)
_MERGE = re.compile(r"^{%\s*merge\s*%}$")
_ASSIGN = re.compile(r"^{%\s*assign\s*%}$")

Path = tuple[str | int, ...]


class InvalidTemplate(ValueError):
    """A template cannot be compiled; `path` leads to the mistake."""

    def __init__(self, message: str, path: Path) -> None:
        super().__init__(message)
        self.path = path


def compile_template(data: JsonValue, path: Path = ()) -> Node:
    """The compiled tree of a template's JSON data. InvalidTemplate names the first mistake and its path."""
    if isinstance(data, str):
        return _string(data, path)
    if isinstance(data, list):
        return Items(tuple(compile_template(item, (*path, number)) for number, item in enumerate(data)))
    if isinstance(data, dict):
        return _object(data, path)
    return Fixed(data)


def _expression(text: str, path: Path, *, many: bool = False, missing: Rendered = ABSENT) -> Evaluated:
    try:
        return Evaluated(compile_expression(text), dotted(path), many=many, missing=missing)
    except InvalidExpression as error:
        raise InvalidTemplate(str(error), path) from None


def _string(text: str, path: Path) -> Node:
    if many := _MANY.match(text):
        return _expression(many[1], path, many=True)
    parts: list[str | Evaluated] = []
    end = 0
    for match in _ONE.finditer(text):
        if text[end : match.start()]:
            parts.append(text[end : match.start()])
        parts.append(_expression(match[2], path, missing=None if match[1] else ABSENT))
        end = match.end()
    if not parts:
        return _without_stray_braces(text, path)
    if text[end:]:
        parts.append(text[end:])
    return parts[0] if len(parts) == 1 and isinstance(parts[0], Evaluated) else Text(tuple(parts))


def _without_stray_braces(text: str, path: Path) -> Node:
    if "{{" in text or "}}" in text:
        raise InvalidTemplate(f"the braces do not match in: {text}", path)
    return Fixed(text)


def _object(data: dict[str, JsonValue], path: Path) -> Node:
    keys = _keys(data, path)
    assign = next((key for key in keys if _ASSIGN.match(key)), None)
    if assign is not None:
        rest = {key: value for key, value in data.items() if key != assign}
        return Assigned(_assignments(data[assign], (*path, assign)), _object(rest, path))
    loop = next((match for key in keys if (match := _FOR.match(key))), None)
    if loop is not None:
        return _loop(data, loop, path)
    blocks = [key for key in keys if _IF.match(key) or _ELSE.match(key) or _MERGE.match(key)]
    own = tuple((key, compile_template(data[key], (*path, key))) for key in keys if key not in blocks)
    for key, _ in own:
        if "{{" in key or "{%" in key:
            raise InvalidTemplate(f"not a block of the mapping language: {key}", (*path, key))
    if not blocks:
        return Members(own)
    merge = next((key for key in blocks if _MERGE.match(key)), None)
    if merge is None:
        choice = _choice(data, blocks, path)
        return Members(own, (choice,)) if own else choice
    if len(blocks) > 1:
        raise InvalidTemplate("put `{% if %}` blocks in the list under `{% merge %}`, not beside it", path)
    return Members(own, tuple(compile_template(item, (*path, merge, n)) for n, item in enumerate(_items(data[merge]))))


def _keys(data: dict[str, JsonValue], path: Path) -> list[str]:
    """The keys; YAML reads some, such as `on` and `1`, as another type than text."""
    odd = [key for key in data if not isinstance(key, str)]
    if odd:
        raise InvalidTemplate(f"a key is not text but {odd[0]}: put it in quotes", path)
    return list(data)


def _choice(data: dict[str, JsonValue], blocks: list[str], path: Path) -> Node:
    conditions = [match for key in blocks if (match := _IF.match(key))]
    if len(conditions) != 1 or len(blocks) > 2:
        raise InvalidTemplate("an object takes one `{% if … %}` and at most one `{% else %}`", path)
    key = conditions[0][0]
    condition = _expression(f"iif({conditions[0][1]}, true, false)", (*path, key))
    otherwise = next((other for other in blocks if other != key), None)
    return Choice(
        condition,
        compile_template(data[key], (*path, key)),
        Fixed(ABSENT) if otherwise is None else compile_template(data[otherwise], (*path, otherwise)),
    )


def _loop(data: dict[str, JsonValue], match: re.Match[str], path: Path) -> Node:
    if len(data) > 1:
        raise InvalidTemplate("`{% for … %}` must be the only key of its object", path)
    inside = (*path, match[0])
    return Loop(match[2], match[1], _expression(match[3], inside), compile_template(data[match[0]], inside))


def _items(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else [value]


def _assignments(given: JsonValue, path: Path) -> tuple[tuple[str, Node], ...]:
    return tuple(_assignment(entry, path) for entry in _items(given))


def _assignment(entry: JsonValue, path: Path) -> tuple[str, Node]:
    if not isinstance(entry, dict) or len(entry) != 1:
        raise InvalidTemplate("`{% assign %}` takes a list of single names, each with a value", path)
    [(name, value)] = entry.items()
    return str(name), compile_template(value, (*path, name))


def dotted(path: Path) -> str:
    """The path as text: `component.0.code`."""
    return ".".join(str(step) for step in path) or "the top"
