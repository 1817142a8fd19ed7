"""Which ids and versions of an EHR are accepted: those that are safe in every database, URL and header."""

from __future__ import annotations

import re

# FHIR permits 64 letters, digits, hyphens and dots. Some servers return longer ids or underscores; if these were refused, a
# result in the chart would look as if it had not been written.
FHIR_ID = r"[A-Za-z0-9\-._]{1,128}"
_WHOLE = re.compile(FHIR_ID)


def fhir_id(value: object) -> str | None:
    """The value if it is an acceptable id or version, else None."""
    return value if isinstance(value, str) and _WHOLE.fullmatch(value) else None
