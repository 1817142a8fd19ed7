"""A closed window as the Observation an endpoint takes: by template, then checked before anybody may send it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Literal

import yaml

from mappings.observation.source_check import check_against_source
from mappings.observation.us_core import Finding, validate
from mappings.observation.variables import (
    VARIABLES,
    ordered,
    result_name,
    site_variables,
    vital_variables,
    window_variables,
)
from mappings.template.compiler import InvalidTemplate, compile_template, dotted
from mappings.template.nodes import Node
from schemas.config import Config
from schemas.errors import Misconfigured, Rejected
from schemas.reasons import Reason
from schemas.vitals import PANELS
from schemas.window import Window

BUILT_IN_TEMPLATE = files("mappings").joinpath("templates/observation.yaml").read_text(encoding="utf-8")


class ObservationMapper:
    """Renders the windows of one endpoint. Pure: the same windows give the same Observation."""

    def __init__(self, config: Config, endpoint: str, template: str | None = None) -> None:
        if endpoint not in config.endpoints:
            raise Misconfigured(f"endpoint '{endpoint}' is not under `endpoints:`")
        self._config = config
        self._endpoint = endpoint
        self._capabilities = config.endpoints[endpoint].matrix.observation
        if config.endpoints[endpoint].kind == "oracle-health" and self._capabilities.performer is None:
            raise Misconfigured(
                f"endpoint '{endpoint}': Oracle Health takes vitals of a named Practitioner only; set `performer`"
            )
        compiled = _compiled(BUILT_IN_TEMPLATE if template is None else template, endpoint)
        self._templates = {name: self._specialised(compiled, name) for name in (*config.vitals, *PANELS)}

    def render(
        self, windows: Sequence[Window], subject_id: str, status: Literal["final", "amended"] = "final"
    ) -> dict[str, Any]:
        """The Observation of one window, or of the members of a panel in the same span.

        Raises Rejected when the windows cannot be one result, Misconfigured when the template gives what must not be sent.
        """
        resource, findings = self.draft(windows, subject_id, status)
        if findings:
            told = "; ".join(f"{finding.path}: {finding.message}" for finding in findings)
            raise Misconfigured(f"the template of '{self._endpoint}' gives what must not be charted: {told}")
        return resource

    def draft(
        self, windows: Sequence[Window], subject_id: str, status: Literal["final", "amended"] = "final"
    ) -> tuple[dict[str, Any], list[Finding]]:
        """The Observation as the template gives it, and everything that is wrong with it."""
        if not windows:
            raise Rejected(Reason.MALFORMED, "a result has at least one window")
        members = ordered(self._config, windows)
        variables = window_variables(self._config, members, subject_id, status, self._capabilities)
        resource = self._templates[result_name(self._config, members[0])].render(variables)
        if not isinstance(resource, dict):
            raise Misconfigured(f"the template of '{self._endpoint}' gives no resource")
        findings = validate(resource, self._capabilities)
        return resource, findings + check_against_source(resource, self._config, members, variables["subject"])

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
