"""A site's own template: compiled, then tried on an example of every vital, and what comes out judged."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from mappings.linting.examples import SUBJECT_ID, examples
from mappings.linting.findings import Finding, did_you_mean
from mappings.linting.origin import BLOCK, place_of
from mappings.linting.yaml_positions import PositionedYaml, leaves, read_positions
from mappings.observation.mapper import ObservationMapper
from mappings.observation.structure import structure
from mappings.observation.variables import VARIABLES, site_variables, vital_variables, window_variables
from mappings.template.compiler import InvalidTemplate, compile_template
from schemas.config import Config
from schemas.errors import Misconfigured
from schemas.vitals import PANELS

_MEMBER = re.compile(r"%(\w+)\.(\w+)(?!\w*\()")


def template_findings(text: str, file: str, config: Config, endpoint: str) -> list[Finding]:
    """Every finding of a template for this endpoint."""
    marked = read_positions(text, file)
    if marked.findings:
        return marked.findings
    if not isinstance(marked.data, dict):
        return [marked.at((), "the template is no object", "begin with `resourceType: Observation`")]
    try:
        compiled = compile_template(marked.data)
    except InvalidTemplate as error:
        return [marked.at(error.path, str(error), "see docs/mappings.md for what a template may say")]
    unknown = [*_unknown_variables(compiled.free, marked), *_unknown_members(config, endpoint, marked)]
    return unknown or _tried(text, config, endpoint, marked)


def _unknown_variables(free: frozenset[str], marked: PositionedYaml) -> Iterator[Finding]:
    for name in sorted(free - VARIABLES):
        word = re.compile(rf"%`?{re.escape(name)}\b")
        path = next((path for path, leaf in leaves(marked.data) if isinstance(leaf, str) and word.search(leaf)), ())
        yield marked.at(path, f"there is no variable %{name}", did_you_mean(name, VARIABLES))


def _unknown_members(config: Config, endpoint: str, marked: PositionedYaml) -> Iterator[Finding]:
    capabilities = config.endpoints[endpoint].matrix.observation
    lone = next(windows for _, windows in examples(config))
    known: dict[str, Any] = {
        "site": site_variables(capabilities),
        "vital": vital_variables(config, next(iter(PANELS)), capabilities),
        "window": window_variables(config, lone, SUBJECT_ID, "final", capabilities)["window"],
    }
    for path, leaf in leaves(marked.data):
        for name, member in _MEMBER.findall(leaf) if isinstance(leaf, str) and BLOCK.search(leaf) else ():
            if name in known and member not in known[name]:
                yield marked.at(path, f"%{name} has no `{member}`", did_you_mean(member, known[name]))


def _tried(text: str, config: Config, endpoint: str, marked: PositionedYaml) -> list[Finding]:
    """Rendered for every vital; a mistake that shows for many of them is told once."""
    try:
        mapper = ObservationMapper(config, endpoint, text)
    except Misconfigured as error:
        return [_at_expression(str(error), marked)]
    found: dict[tuple[int, str], tuple[Finding, list[str]]] = {}
    for tried, windows in examples(config):
        try:
            resource, problems = mapper.draft(windows, SUBJECT_ID)
            problems = problems + (structure(resource) if not problems else [])
        except Misconfigured as error:
            failed = _at_expression(str(error), marked)
            found.setdefault((failed.line, failed.message), (failed, []))[1].append(tried)
            continue
        for problem in problems:
            finding = marked.at(
                place_of(problem.path, resource, marked.data), f"{problem.path}: {problem.message}", problem.remedy
            )
            found.setdefault((finding.line, problem.path), (finding, []))[1].append(tried)
    return [finding._replace(message=f"{finding.message} ({_listed(tried)})") for finding, tried in found.values()]


def _at_expression(message: str, marked: PositionedYaml) -> Finding:
    """An expression that compiles and fails when it runs: the message quotes it."""
    quoted = message.split("'")[1::2]
    path = next(
        (path for path, leaf in leaves(marked.data) if isinstance(leaf, str) and any(q in leaf for q in quoted)), ()
    )
    return marked.at(path, message, "correct the expression; its functions must fit the values they are given")


def _listed(tried: list[str]) -> str:
    """For which vital the finding holds as worded, and for which others the place is wrong too."""
    first, *others = dict.fromkeys(tried)
    more = f" and {len(others) - 2} more" if len(others) > 2 else ""
    return f"for {first}; also {', '.join(others[:2])}{more}" if others else f"for {first}"
