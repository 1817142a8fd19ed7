"""YAML with the position of every key and item, and duplicate keys, which the plain loader accepts silently."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from mappings.linting.findings import Finding

Path = tuple[str | int, ...]


@dataclass
class PositionedYaml:
    """A YAML document: its data, the line and column of each key and item, and what is wrong with its form."""

    file: str
    data: object = None
    positions: dict[Path, tuple[int, int]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def at(self, path: Path, message: str, remedy: str) -> Finding:
        """A finding at this path, or at its longest part that is in the file."""
        while path and path not in self.positions:
            path = path[:-1]
        return Finding(self.file, *self.positions.get(path, (1, 1)), message, remedy)


def read_positions(text: str, file: str) -> PositionedYaml:
    """The document of a YAML (or JSON) text. A text that is not YAML has a finding and no data."""
    document = PositionedYaml(file)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        document.data = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        document.findings.append(_syntax_finding(error, file))
        return document
    except yaml.YAMLError:
        document.findings.append(Finding(file, 1, 1, "this is not YAML text", "save the file as UTF-8 text"))
        return document
    if node is not None:
        _add_positions(node, (), document)
    return document


def leaves(data: object, path: Path = ()) -> Iterator[tuple[Path, object]]:
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


def value_at(data: object, path: Path) -> object:
    """The value at a path, or None."""
    for step in path:
        if isinstance(data, dict):
            data = data.get(step)
        elif isinstance(data, list) and isinstance(step, int) and step < len(data):
            data = data[step]
        else:
            return None
    return data


def _syntax_finding(error: yaml.MarkedYAMLError, file: str) -> Finding:
    mark = error.problem_mark or error.context_mark
    line, column = _position(mark) if mark else (1, 1)
    remedy = "correct the YAML here or on the line before: indentation with spaces, quotes closed, `key: value`"
    return Finding(file, line, column, f"this is not YAML: {error.problem}", remedy)


def _position(mark: yaml.Mark) -> tuple[int, int]:
    return mark.line + 1, mark.column + 1


def _add_positions(node: yaml.Node, path: Path, document: PositionedYaml) -> None:
    if isinstance(node, yaml.MappingNode):
        _add_keys(node, path, document)
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            document.positions[(*path, number)] = _position(item.start_mark)
            _add_positions(item, (*path, number), document)


def _add_keys(node: yaml.MappingNode, path: Path, document: PositionedYaml) -> None:
    first_line: dict[str, int] = {}
    for key, value in node.value:
        position = _position(key.start_mark)
        if key.value in first_line:
            message = f"duplicate key '{key.value}': its first value, on line {first_line[key.value]}, would be ignored"
            document.findings.append(Finding(document.file, *position, message, "keep one of them"))
        first_line.setdefault(key.value, position[0])
        document.positions[(*path, key.value)] = position
        _add_positions(value, (*path, key.value), document)
