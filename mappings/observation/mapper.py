"""Renders closed windows as the Observation that an endpoint accepts, and checks it before it can be sent."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Literal

import yaml

from mappings.fhir_json import JsonValue, Resource
from mappings.findings import ElementFinding
from mappings.observation.result import result_members, result_name
from mappings.observation.source_check import check_against_source
from mappings.observation.us_core import validate
from mappings.observation.variables import (
    VARIABLES,
    site_variables,
    subject_reference,
    vital_variables,
    window_variables,
)
from mappings.template.compiler import InvalidTemplate, compile_template, dotted
from mappings.template.nodes import Node
from schemas.config import Config
from schemas.errors import Misconfigured
from schemas.vitals import PANELS
from schemas.window import Window

BUILT_IN_TEMPLATE = files(__package__).joinpath("template.yaml").read_text(encoding="utf-8")
Status = Literal["final", "amended"]


class ObservationMapper:
    """Renders the windows of one endpoint. Pure: the same windows always give the same Observation."""

    def __init__(self, config: Config, endpoint: str, template: str | None = None) -> None:
        if endpoint not in config.endpoints:
            raise Misconfigured(f"endpoint '{endpoint}' is not under `endpoints:`")
        self._config = config
        self._endpoint = endpoint
        self._capabilities = config.endpoints[endpoint].matrix.observation
        if config.endpoints[endpoint].kind == "oracle-health" and self._capabilities.performer is None:
            raise Misconfigured(
                f"endpoint '{endpoint}': Oracle Health requires a Practitioner for every vital; set `performer`"
            )
        compiled = _compiled(BUILT_IN_TEMPLATE if template is None else template, endpoint)
        self._templates = {name: self._specialised(compiled, name) for name in (*config.vitals, *PANELS)}

    def render(self, windows: Sequence[Window], subject_id: str, status: Status = "final") -> dict[str, JsonValue]:
        """The Observation of one window, or of the members of a panel over the same span.

        Raises Rejected if the windows cannot be one result, Misconfigured if the template renders what must not be charted.
        """
        members = result_members(self._config, windows)
        resource = self._rendered(members, subject_id, status)
        if findings := self._findings(resource, members, subject_id):
            wrong = "; ".join(f"{finding.path}: {finding.message}" for finding in findings)
            raise Misconfigured(f"the template of '{self._endpoint}' rendered an invalid Observation: {wrong}")
        return resource

    def render_unchecked(self, windows: Sequence[Window], subject_id: str) -> dict[str, JsonValue]:
        """The Observation as the template renders it, to be checked with `check`."""
        return self._rendered(result_members(self._config, windows), subject_id, "final")

    def check(self, resource: Resource, windows: Sequence[Window], subject_id: str) -> list[ElementFinding]:
        """Everything that is wrong with an Observation of these windows. Empty is valid."""
        return self._findings(resource, result_members(self._config, windows), subject_id)

    def _rendered(self, members: Sequence[Window], subject_id: str, status: Status) -> dict[str, JsonValue]:
        variables = window_variables(self._config, members, subject_id, status, self._capabilities)
        resource = self._templates[result_name(self._config, members[0])].render(variables)
        if not isinstance(resource, dict):
            raise Misconfigured(f"the template of '{self._endpoint}' does not render a resource")
        return resource

    def _findings(self, resource: Resource, members: Sequence[Window], subject_id: str) -> list[ElementFinding]:
        findings = validate(resource, self._capabilities)
        return findings + check_against_source(resource, self._config, members, subject_reference(subject_id))

    def _specialised(self, compiled: Node, name: str) -> Node:
        return compiled.fold(
            {
                "vital": vital_variables(self._config, name, self._capabilities),
                "site": site_variables(self._capabilities),
            }
        )


def _compiled(text: str, endpoint: str) -> Node:
    try:
        node = compile_template(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise Misconfigured(f"the template of '{endpoint}' is not YAML; run `vitalwire check`") from error
    except InvalidTemplate as error:
        raise Misconfigured(f"the template of '{endpoint}' at {dotted(error.path)}: {error}") from error
    if unknown := sorted(node.free - VARIABLES):
        raise Misconfigured(f"the template of '{endpoint}' reads unknown variables: {', '.join(unknown)}")
    return node
