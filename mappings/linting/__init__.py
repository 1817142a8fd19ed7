"""`vitalwire check`: every mistake in a configuration and its templates, with file, line and remedy. Text in, findings out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mappings.linting.findings import Finding, InvalidConfiguration
from mappings.linting.rules import RULES, mappings_of
from mappings.linting.shape import shape_findings
from mappings.linting.templates import template_findings
from mappings.linting.yaml_positions import Path, PositionedYaml, read_positions
from schemas.config import Config, Endpoint
from schemas.endpoint_kinds import DEFAULTS, GENERIC

__all__ = ["Finding", "InvalidConfiguration", "check_config", "load_config"]

ReadFile = Callable[[str], str | None]
"""The text of a file as the configuration names it (relative to the configuration), or None."""


def check_config(text: str, file: str, read_file: ReadFile) -> list[Finding]:
    """Every mistake, in the order of the file; then those of the templates it names."""
    return _checked(text, file, read_file)[0]


def load_config(text: str, file: str, read_file: ReadFile) -> Config:
    """The configuration; InvalidConfiguration (a Misconfigured) with every finding when there is any."""
    findings, config = _checked(text, file, read_file)
    if findings or config is None:
        raise InvalidConfiguration(findings)
    return config


def _checked(text: str, file: str, read_file: ReadFile) -> tuple[list[Finding], Config | None]:
    marked = read_positions(text, file)
    if marked.data is None and marked.findings:
        return marked.findings, None
    if not isinstance(marked.data, dict | None):
        return [marked.at((), "the file holds no configuration", "begin with `tenants:` and `endpoints:`")], None
    refusals, config = shape_findings(marked)
    found = {path: marked.at(path, message, remedy) for path, message, remedy in _ruled(marked)}
    refused = [refusal.finding for refusal in refusals if not refusal.is_told_by(found)]
    findings = sorted([*marked.findings, *refused, *found.values()], key=lambda finding: finding[1:3])
    trusted = None if findings else config
    for name, path in _templates(marked):
        findings += _template(name, path, marked, trusted, read_file)
    return findings, config


def _ruled(marked: PositionedYaml) -> Iterator[tuple[Path, str, str]]:
    for rule in RULES:
        yield from rule(marked.data or {})


def _templates(marked: PositionedYaml) -> Iterator[tuple[str, str]]:
    for name, endpoint in mappings_of(marked.data, "endpoints"):
        template = endpoint.get("template")
        if isinstance(template, str):
            yield name, template


def _template(
    name: str, path: str, marked: PositionedYaml, config: Config | None, read_file: ReadFile
) -> list[Finding]:
    text = read_file(path)
    if text is None:
        place: Path = ("endpoints", name, "template")
        return [
            marked.at(place, f"the template '{path}' cannot be read", "correct the path; it is relative to this file")
        ]
    return template_findings(text, path, config or _stand_in(name, marked.data), name)


def _stand_in(name: str, data: Any) -> Config:
    """With a broken configuration a template is still checked: for the endpoint's kind, with the built-in vitals."""
    kind = data["endpoints"][name].get("kind")
    kind = kind if isinstance(kind, str) and kind in DEFAULTS else GENERIC
    capabilities = {"performer": "Practitioner/example"} if kind == "oracle-health" else {}
    endpoint = Endpoint(kind=kind, base_url="http://127.0.0.1", capabilities=capabilities)
    return Config(endpoints={name: endpoint})
