"""What may pass for an id or a version that an EHR gives: safe for every database, URL and header, whoever wrote it."""

from __future__ import annotations

import re

# FHIR allows 64 letters, digits, hyphens and dots. Some servers exceed that in length or write an underscore, and a result that
# is in the chart must not look as if it were not; nothing beyond that passes.
FHIR_ID = r"[A-Za-z0-9\-._]{1,128}"
_WHOLE = re.compile(FHIR_ID)


def fhir_id(value: object) -> str | None:
    """The value if it can be an id or a version, else None."""
    return value if isinstance(value, str) and _WHOLE.fullmatch(value) else None
