"""Checks that a resource is structurally FHIR: element names, types and cardinalities of R4B, as in `fhir.resources`.

The library has no R4 and accepts any unit; `mappings.observation.us_core` checks the clinical side. It is too slow to run
on every Observation (4,000 a second), so it checks templates only.
"""

from __future__ import annotations

from fhir.resources.R4B.observation import Observation
from pydantic import ValidationError

from mappings.fhir_json import Resource
from mappings.findings import ElementFinding


def structure(resource: Resource) -> list[ElementFinding]:
    """Every structural finding of an Observation: the element and the kind of mistake, never a value."""
    try:
        Observation.model_validate(dict(resource))
    except ValidationError as error:
        return [
            _finding(".".join(str(step) for step in problem["loc"]), problem["type"].replace("_", " "))
            for problem in error.errors(include_url=False, include_input=False, include_context=False)
        ]
    except Exception as error:  # the library itself fails on some shapes before it can validate them
        return [_finding("", type(error).__name__)]
    return []


def _finding(path: str, mistake: str) -> ElementFinding:
    remedy = "compare with https://hl7.org/fhir/R4/observation.html"
    return ElementFinding(path or "Observation", f"is not FHIR R4 ({mistake})", remedy)
