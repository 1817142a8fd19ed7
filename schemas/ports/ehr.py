"""What the core asks of an EHR."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol

from schemas.ehr import EhrResponse
from schemas.operation import Intent

LastCheck = Callable[[], bool]
"""Asked when the first byte of a write would go out: false keeps it here, and nothing was sent."""


class EhrEndpoint(Protocol):
    """One EHR. Never raises for what the EHR does: every answer, refusal and silence is an EhrAnswer."""

    async def active_encounter(self, subject_id: str, at: datetime) -> tuple[str | None, EhrResponse | None]:
        """Reference of the patient's encounter at that moment (`Encounter/…`), or None with the answer that told so."""
        ...

    async def create(
        self, resource: Mapping[str, Any], intent: Intent, last_check: LastCheck | None = None
    ) -> EhrResponse:
        """POST a resource, once."""
        ...

    async def update(
        self,
        resource_id: str,
        version: str | None,
        resource: Mapping[str, Any],
        last_check: LastCheck | None = None,
    ) -> EhrResponse:
        """PUT an amendment, once."""
        ...

    async def find(self, intent: Intent) -> tuple[list[Mapping[str, Any]], EhrResponse]:
        """Resources at the EHR that may be this intent: by identifier where it can, else patient, code and time."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...
