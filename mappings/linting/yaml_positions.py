"""YAML with the place of everything in it, and what the plain loader passes over: keys that are given twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from mappings.linting.findings import Finding

Path = tuple[str | int, ...]


@dataclass
class PositionedYaml:
    """A YAML document: its data, where each key or item stands, and what is wrong with its form."""

    file: str
    data: Any = None
    places: dict[Path, tuple[int, int]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def at(self, path: Path, message: str, remedy: str) -> Finding:
        """A finding at this path, or at the nearest part of it that stands in the file."""
        while path and path not in self.places:
            path = path[:-1]
        return Finding(self.file, *self.places.get(path, (1, 1)), message, remedy)


def read_positions(text: str, file: str) -> PositionedYaml:
    """The document of a YAML (or JSON) text. A text that is not YAML has a finding and no data."""
    marked = PositionedYaml(file)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        marked.data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        remedy = "correct the YAML here or on the line before: indentation with spaces, quotes closed, `key: value`"
        marked.findings.append(Finding(file, line, column, f"this is not YAML: {error.problem}", remedy))
        return marked
    except yaml.YAMLError:
        marked.findings.append(Finding(file, 1, 1, "this is not YAML text", "save the file as UTF-8 text"))
        return marked
    if node is not None:
        _mark(node, (), marked)
    return marked


def leaves(data: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every scalar, and every key as a leaf of its own, with its path."""
    if isinstance(data, dict):
        for key, value in data.items():
            yield (*path, key), key
            yield from leaves(value, (*path, key))
    elif isinstance(data, list):
        for number, value in enumerate(data):
            yield from leaves(value, (*path, number))
    else:
        yield path, data


def _mark(node: yaml.Node, path: Path, marked: PositionedYaml) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            inner = (*path, key.value)
            if key.value in seen:
                place = (key.start_mark.line + 1, key.start_mark.column + 1)
                message = f"'{key.value}' is given twice: the first, on line {seen[key.value]}, would be forgotten"
                marked.findings.append(Finding(marked.file, *place, message, "keep one of them"))
            seen.setdefault(key.value, key.start_mark.line + 1)
            marked.places[inner] = (key.start_mark.line + 1, key.start_mark.column + 1)
            _mark(value, inner, marked)
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            marked.places[(*path, number)] = (item.start_mark.line + 1, item.start_mark.column + 1)
            _mark(item, (*path, number), marked)
