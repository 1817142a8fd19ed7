"""Finds where in a template an element of the rendered resource comes from, so that a finding can name its line."""

from __future__ import annotations

import re

from mappings.linting.yaml_positions import Path, leaves, value_at

BLOCK = re.compile(r"\{%|\{\{|\{\[")
"""Found in every key or string of the mapping language, and in no plain text."""


def template_path(element: str, resource: object, template: object) -> Path:
    """The template's key path for `valueQuantity.code` and the like.

    Of several candidates, the one whose value is closest to what was rendered. If the template has no such element, the
    path of the nearest enclosing one.
    """
    names = [name for name in element.removesuffix("[x]").split(".") if name and not name.isdigit()]
    rendered = _element_at(resource, tuple(names))
    while names:
        candidates = [path for path, _ in leaves(template) if _leads_to(path, names)]
        if candidates:
            return min(candidates, key=lambda path: _distance(_element_at(template, path), rendered))
        names.pop()
    return ()


def _leads_to(path: Path, names: list[str]) -> bool:
    elements = [step for step in path if isinstance(step, str) and not BLOCK.search(step)]
    if not elements or not _is_named(elements[0], names[0]) or not _is_named(path[-1], names[-1]):
        return False
    steps = iter(elements)
    return all(any(_is_named(step, name) for step in steps) for name in names)


def _is_named(step: str | int, name: str) -> bool:
    return step == name or (name == "effective" and str(step).startswith(name))


def _distance(given: object, rendered: object) -> int:
    """How far a template's value is from the rendered one: 0 the same text, 1 an expression, 2 another text."""
    if given == rendered:
        return 0
    return 1 if isinstance(given, str) and BLOCK.search(given) else 2


def _element_at(data: object, path: Path) -> object:
    """The value at a path in which list indexes may be missing; the first item is meant then."""
    for step in path:
        if isinstance(data, list) and isinstance(step, str):
            data = data[0] if data else None
        data = value_at(data, (step,))
    return data
