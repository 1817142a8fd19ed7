"""Where in a template an element of the rendered resource comes from, so that a finding can name the line."""

from __future__ import annotations

import re
from typing import Any

from mappings.linting.yaml_positions import Path, leaves

BLOCK = re.compile(r"\{%|\{\{|\{\[")
"""What a string or key of the mapping language holds, and plain text does not."""


def place_of(dotted: str, resource: Any, template: Any) -> Path:
    """The template's key path for `valueQuantity.code` and the like; of several that which wrote what the resource holds.

    Where the template has no such element, the place is that of the nearest element around it.
    """
    names = [name for name in dotted.removesuffix("[x]").split(".") if name and not name.isdigit()]
    written = _value_at(resource, names)
    while names:
        candidates = [path for path, _ in leaves(template) if _leads_to(path, names)]
        if candidates:
            return min(candidates, key=lambda path: _distance(_value_at(template, path), written))
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


def _distance(given: Any, written: Any) -> int:
    """How far a template's value is from what was rendered: the same text, an expression, another text."""
    if given == written:
        return 0
    return 1 if isinstance(given, str) and BLOCK.search(given) else 2


def _value_at(data: Any, path: Path | list[str]) -> Any:
    for step in path:
        if isinstance(data, list) and isinstance(step, str):
            data = data[0] if data else None
        if isinstance(data, dict):
            data = data.get(step)
        elif isinstance(data, list) and isinstance(step, int):
            data = data[step]
        else:
            return None
    return data
