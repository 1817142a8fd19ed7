"""Whether a resource is structurally FHIR: the element names, types and cardinalities of R4B, as `fhir.resources` knows them.

The library knows no R4 and accepts any unit; `mappings.observation.us_core` checks the clinical side. At 4,000
Observations a second it is too slow for every one, so it checks templates only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fhir.resources.R4B.observation import Observation
from pydantic import ValidationError

from mappings.observation.us_core import Finding


def structure(resource: Mapping[str, Any]) -> list[Finding]:
    """Every structural finding of an Observation: where and what kind, never a value."""
    try:
        Observation.model_validate(dict(resource))
    except ValidationError as error:
        return [
            Finding(
                ".".join(str(step) for step in problem["loc"]) or "Observation",
                f"is not FHIR R4 ({problem['type'].replace('_', ' ')})",
                "compare with https://hl7.org/fhir/R4/observation.html",
            )
            for problem in error.errors(include_url=False, include_input=False, include_context=False)
        ]
    except Exception as error:  # the library trips over some shapes before it can judge them
        kind = type(error).__name__
        return [
            Finding("Observation", f"is not FHIR R4 ({kind})", "compare with https://hl7.org/fhir/R4/observation.html")
        ]
    return []
