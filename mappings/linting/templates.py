"""Checks a site's template: compiles it, renders it for an example of every vital, and checks each Observation."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mappings.linting.examples import SUBJECT_ID, examples
from mappings.linting.findings import Finding, did_you_mean
from mappings.linting.origin import BLOCK, template_path
from mappings.linting.yaml_positions import PositionedYaml, leaves, read_positions
from mappings.observation.mapper import ObservationMapper
from mappings.observation.structure import structure
from mappings.observation.variables import VARIABLES, site_variables, vital_variables, window_variables
from mappings.template.compiler import InvalidTemplate, compile_template
from schemas.capabilities import ObservationCapabilities
from schemas.config import Config
from schemas.errors import Misconfigured
from schemas.vitals import PANELS
from schemas.window import Window

_MEMBER = re.compile(r"%(\w+)\.(\w+)(?!\w*\()")


def template_findings(text: str, file: str, config: Config, endpoint: str) -> list[Finding]:
    """Every finding of a template for this endpoint."""
    document = read_positions(text, file)
    if document.findings:
        return document.findings
    if not isinstance(document.data, dict):
        return [document.at((), "the template is not an object", "begin with `resourceType: Observation`")]
    try:
        compiled = compile_template(document.data)
    except InvalidTemplate as error:
        return [document.at(error.path, str(error), "see docs/mappings.md for the syntax of templates")]
    unknown = [*_unknown_variables(compiled.free, document), *_unknown_members(config, endpoint, document)]
    return unknown or _example_findings(text, config, endpoint, document)


def _unknown_variables(free: frozenset[str], document: PositionedYaml) -> Iterator[Finding]:
    for name in sorted(free - VARIABLES):
        word = re.compile(rf"%`?{re.escape(name)}\b")
        path = next((path for path, leaf in leaves(document.data) if isinstance(leaf, str) and word.search(leaf)), ())
        yield document.at(path, f"there is no variable %{name}", did_you_mean(name, VARIABLES))


def _unknown_members(config: Config, endpoint: str, document: PositionedYaml) -> Iterator[Finding]:
    known = _known_members(config, config.endpoints[endpoint].matrix.observation)
    for path, leaf in leaves(document.data):
        for name, member in _MEMBER.findall(leaf) if isinstance(leaf, str) and BLOCK.search(leaf) else ():
            if name in known and member not in known[name]:
                yield document.at(path, f"%{name} has no `{member}`", did_you_mean(member, known[name]))


def _known_members(config: Config, capabilities: ObservationCapabilities) -> dict[str, frozenset[str]]:
    """Variable → its members, for the variables that are objects."""
    windows = next(windows for _, windows in examples(config))
    variables = {
        "site": site_variables(capabilities),
        "vital": vital_variables(config, next(iter(PANELS)), capabilities),
        "window": window_variables(config, windows, SUBJECT_ID, "final", capabilities)["window"],
    }
    return {name: frozenset(value) for name, value in variables.items() if isinstance(value, dict)}


def _example_findings(text: str, config: Config, endpoint: str, document: PositionedYaml) -> list[Finding]:
    """The findings of an example of every vital. A mistake that occurs in several is reported once."""
    try:
        mapper = ObservationMapper(config, endpoint, text)
    except Misconfigured as error:
        return [_at_expression(str(error), document)]
    found: dict[tuple[int, str], tuple[Finding, list[str]]] = {}
    for example, windows in examples(config):
        for subject, finding in _findings_of(mapper, windows, document):
            found.setdefault((finding.line, subject), (finding, []))[1].append(example)
    return [finding._replace(message=f"{finding.message} ({_listed(names)})") for finding, names in found.values()]


def _findings_of(
    mapper: ObservationMapper, windows: Sequence[Window], document: PositionedYaml
) -> Iterator[tuple[str, Finding]]:
    """Each finding of one example, after what makes it the same mistake in another one: its element, or its message."""
    try:
        resource = mapper.render_unchecked(windows, SUBJECT_ID)
        wrong = mapper.check(resource, windows, SUBJECT_ID) or structure(resource)
    except Misconfigured as error:
        finding = _at_expression(str(error), document)
        yield finding.message, finding
        return
    for element, message, remedy in wrong:
        path = template_path(element, resource, document.data)
        yield element, document.at(path, f"{element}: {message}", remedy)


def _at_expression(message: str, document: PositionedYaml) -> Finding:
    """An expression that compiles but fails when it is evaluated: the message quotes it."""
    quoted = message.split("'")[1::2]
    path = next(
        (path for path, leaf in leaves(document.data) if isinstance(leaf, str) and any(q in leaf for q in quoted)), ()
    )
    return document.at(path, message, "correct the expression; its functions must accept the type of their input")


def _listed(names: list[str]) -> str:
    """The example that the finding describes, and the others with the same mistake."""
    first, *others = dict.fromkeys(names)
    more = f" and {len(others) - 2} more" if len(others) > 2 else ""
    return f"for {first}; also {', '.join(others[:2])}{more}" if others else f"for {first}"
