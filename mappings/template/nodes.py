"""A compiled FPML template: a tree of nodes that renders fast. `mappings.template.compiler` builds it.

Rendering gives the same result as the published engine (a test compares the two), except that rendered data is never
interpreted as a template: a device called `{{ %subject }}` remains a name. `fold` evaluates once what depends on known
variables only, such as the vital and the endpoint.
Source: FPML specification, https://github.com/beda-software/FHIRPathMappingLanguage.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from enum import Enum
from types import MappingProxyType
from typing import Final, TypeAlias

import orjson

from mappings.fhir_json import JsonValue
from mappings.template.fhirpath import Expression, Variables
from schemas.errors import Misconfigured


class Absent(Enum):
    """The type of ABSENT."""

    ABSENT = "absent"


ABSENT: Final = Absent.ABSENT
"""Rendered to nothing: the key or the item is left out."""

Rendered: TypeAlias = "JsonValue | Absent"
_NONE: Variables = MappingProxyType({})


class Node(ABC):
    """A part of a template. `free` holds the names of the variables that it reads."""

    free: frozenset[str]

    @abstractmethod
    def render(self, variables: Variables) -> Rendered:
        """The JSON value, or ABSENT."""

    @abstractmethod
    def narrow(self, known: Variables) -> Node:
        """The same node with its parts folded."""

    def fold(self, known: Variables) -> Node:
        """The same node with everything that depends on `known` only evaluated."""
        return Fixed(self.render(known)) if self.free <= known.keys() else self.narrow(known)


class Fixed(Node):
    """A constant. Containers are copied each time they are rendered, so that no two resources share one."""

    free = frozenset()

    def __init__(self, value: Rendered) -> None:
        self.value = value
        self._copy = orjson.dumps(value) if isinstance(value, (dict, list)) else None

    def render(self, variables: Variables) -> Rendered:  # noqa: D102
        return self.value if self._copy is None else orjson.loads(self._copy)

    def narrow(self, known: Variables) -> Node:  # noqa: D102
        return self


class Evaluated(Node):
    """`{{ expression }}`: its first value (ABSENT or null without one); `{[ expression ]}`: all of them."""

    def __init__(
        self,
        expression: Expression,
        where: str,
        *,
        many: bool = False,
        missing: Rendered = ABSENT,
        bound: Variables = _NONE,
    ) -> None:
        self.free = expression.variables - bound.keys()
        self.expression, self.where, self.many, self.missing, self.bound = expression, where, many, missing, bound

    def values(self, variables: Variables) -> list[JsonValue]:
        """All values of the expression."""
        try:
            return self.expression({**variables, **self.bound} if self.bound else variables)
        except Exception as error:
            # The engine's message may contain patient data: keep it out of ours, and out of the exception chain.
            kind = type(error).__name__
            raise Misconfigured(f"template at {self.where}: '{self.expression.text}' fails ({kind})") from None

    def render(self, variables: Variables) -> Rendered:  # noqa: D102
        found = self.values(variables)
        if self.many:
            return list(found) or ABSENT
        return found[0] if found else self.missing

    def narrow(self, known: Variables) -> Evaluated:  # noqa: D102
        bound = {**self.bound, **{name: known[name] for name in self.free & known.keys()}}
        return Evaluated(self.expression, self.where, many=self.many, missing=self.missing, bound=bound)


class Text(Node):
    """Text with expressions in it; left out when one of them has no value."""

    def __init__(self, parts: tuple[str | Evaluated, ...]) -> None:
        self.parts = parts
        self.free = _union(part for part in parts if isinstance(part, Node))

    def render(self, variables: Variables) -> Rendered:  # noqa: D102
        texts: list[str] = []
        for part in self.parts:
            value = part if isinstance(part, str) else part.render(variables)
            if value is ABSENT or value is None:
                return value
            texts.append(str(value))
        return "".join(texts)

    def narrow(self, known: Variables) -> Node:  # noqa: D102
        return Text(tuple(part if isinstance(part, str) else part.narrow(known) for part in self.parts))


class Items(Node):
    """A list: lists inside are flattened, the absent is left out, and an empty list is absent."""

    def __init__(self, items: tuple[Node, ...]) -> None:
        self.items = items
        self.free = _union(items)

    def render(self, variables: Variables) -> Rendered:  # noqa: D102
        return _flat(item.render(variables) for item in self.items) or ABSENT

    def narrow(self, known: Variables) -> Node:  # noqa: D102
        return Items(tuple(item.fold(known) for item in self.items))


class Members(Node):
    """An object: its own keys, then those of the objects merged into it; an empty object is absent."""

    def __init__(self, members: tuple[tuple[str, Node], ...], merged: tuple[Node, ...] = ()) -> None:
        self.members, self.merged = members, merged
        self.free = _union(node for _, node in members) | _union(merged)

    def render(self, variables: Variables) -> Rendered:  # noqa: D102
        rendered = {key: value for key, node in self.members if (value := node.render(variables)) is not ABSENT}
        for node in self.merged:
            value = node.render(variables)
            if value is ABSENT or value is None:
                continue
            if not isinstance(value, dict):
                raise Misconfigured("template: only an object can be merged into an object")
            rendered.update(value)
        return rendered or ABSENT

    def narrow(self, known: Variables) -> Node:  # noqa: D102
        members = tuple((key, node.fold(known)) for key, node in self.members)
        return Members(members, tuple(node.fold(known) for node in self.merged))


class Choice(Node):
    """`{% if condition %}` with its `{% else %}`."""

    def __init__(self, condition: Evaluated, then: Node, otherwise: Node) -> None:
        self.condition, self.then, self.otherwise = condition, then, otherwise
        self.free = _union((condition, then, otherwise))

    def _branch(self, variables: Variables) -> Node:
        return self.then if self.condition.values(variables) == [True] else self.otherwise

    def render(self, variables: Variables) -> Rendered:  # noqa: D102
        return self._branch(variables).render(variables)

    def narrow(self, known: Variables) -> Node:  # noqa: D102
        if self.condition.free <= known.keys():
            return self._branch(known).fold(known)
        return Choice(self.condition.narrow(known), self.then.fold(known), self.otherwise.fold(known))


class Loop(Node):
    """`{% for item in expression %}`: the body once for each value."""

    def __init__(self, item: str, index: str | None, over: Evaluated, body: Node) -> None:
        self.item, self.index, self.over, self.body = item, index, over, body
        self.own = frozenset({item} | ({index} if index else set()))
        self.free = over.free | (body.free - self.own)

    def render(self, variables: Variables) -> Rendered:  # noqa: D102
        rendered: list[Rendered] = []
        for number, value in enumerate(self.over.values(variables)):
            inner = {**variables, self.item: value} | ({self.index: number} if self.index else {})
            rendered.append(self.body.render(inner))
        return _flat(rendered) or ABSENT

    def narrow(self, known: Variables) -> Node:  # noqa: D102
        outside = {name: value for name, value in known.items() if name not in self.own}
        return Loop(self.item, self.index, self.over.narrow(known), self.body.fold(outside))


class Assigned(Node):
    """`{% assign %}`: names for values, in order, and the body that may use them."""

    def __init__(self, names: tuple[tuple[str, Node], ...], body: Node) -> None:
        self.names, self.body = names, body
        free: frozenset[str] = body.free
        for name, node in reversed(names):
            free = (free - {name}) | node.free
        self.free = free

    def render(self, variables: Variables) -> Rendered:  # noqa: D102
        inner = dict(variables)
        for name, node in self.names:
            value = node.render(inner)
            inner[name] = None if value is ABSENT else value
        return self.body.render(inner)

    def narrow(self, known: Variables) -> Node:  # noqa: D102
        outside = dict(known)
        names: list[tuple[str, Node]] = []
        for name, node in self.names:
            names.append((name, node.fold(outside)))
            outside.pop(name, None)
        return Assigned(tuple(names), self.body.fold(outside))


def _union(nodes: Iterable[Node]) -> frozenset[str]:
    return frozenset().union(*(node.free for node in nodes))


def _flat(values: Iterable[Rendered]) -> list[JsonValue]:
    return list(_flattened(values))


def _flattened(values: Iterable[Rendered]) -> Iterator[JsonValue]:
    for value in values:
        if isinstance(value, list):
            yield from _flattened(value)
        elif value is not ABSENT:
            yield value
