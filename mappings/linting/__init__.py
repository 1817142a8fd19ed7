"""`vitalwire check`: every mistake in a configuration and its templates, with file, line and remedy. Text in, findings out."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mappings.linting.findings import Finding, InvalidConfiguration
from mappings.linting.rules import RULES, Violation, sections_of
from mappings.linting.shape import shape_violations
from mappings.linting.templates import template_findings
from mappings.linting.yaml_positions import PositionedYaml, read_positions, value_at
from schemas.config import Config
from schemas.endpoint_kinds import DEFAULTS, GENERIC

__all__ = ["Finding", "InvalidConfiguration", "check_config", "load_config"]

ReadFile = Callable[[str], str | None]
"""The text of a file as the configuration names it (relative to the configuration), or None."""


def check_config(text: str, file: str, read_file: ReadFile) -> list[Finding]:
    """Every mistake, in the order of the file; then those of its templates."""
    return _checked(text, file, read_file)[0]


def load_config(text: str, file: str, read_file: ReadFile) -> Config:
    """The configuration. InvalidConfiguration (a Misconfigured) holds every finding if there is one."""
    findings, config = _checked(text, file, read_file)
    if findings or config is None:
        raise InvalidConfiguration(findings)
    return config


def _checked(text: str, file: str, read_file: ReadFile) -> tuple[list[Finding], Config | None]:
    document = read_positions(text, file)
    if document.data is None and document.findings:
        return document.findings, None
    if not isinstance(document.data, dict | None):
        remedy = "begin with `tenants:` and `endpoints:`"
        return [document.at((), "the file contains no configuration", remedy)], None
    violations, config = shape_violations(document)
    by_path = {path: document.at(path, message, remedy) for path, message, remedy in _rule_violations(document)}
    others = [violation.finding for violation in violations if not violation.is_covered_by(by_path)]
    findings = sorted([*document.findings, *others, *by_path.values()], key=lambda finding: finding[1:3])
    usable = None if findings else config
    for name, path in _templates(document):
        findings += _template(name, path, document, usable, read_file)
    return findings, config


def _rule_violations(document: PositionedYaml) -> Iterator[Violation]:
    data = document.data if isinstance(document.data, dict) else {}
    for rule in RULES:
        yield from rule(data)


def _templates(document: PositionedYaml) -> Iterator[tuple[str, str]]:
    for name, endpoint in sections_of(document.data, "endpoints"):
        template = endpoint.get("template")
        if isinstance(template, str):
            yield name, template


def _template(
    name: str, path: str, document: PositionedYaml, config: Config | None, read_file: ReadFile
) -> list[Finding]:
    text = read_file(path)
    if text is None:
        message = f"the template '{path}' cannot be read"
        remedy = "correct the path; it is relative to this file"
        return [document.at(("endpoints", name, "template"), message, remedy)]
    return template_findings(text, path, config or _substitute(name, document.data), name)


def _substitute(name: str, data: object) -> Config:
    """If the configuration is invalid, its templates are checked with the endpoint's kind and the built-in vitals."""
    given = value_at(data, ("endpoints", name, "kind"))
    kind = given if isinstance(given, str) and given in DEFAULTS else GENERIC
    capabilities = {"performer": "Practitioner/example"} if kind == "oracle-health" else {}
    return Config.model_validate(
        {"endpoints": {name: {"kind": kind, "base_url": "http://127.0.0.1", "capabilities": capabilities}}}
    )
