"""What the core asks of an EHR."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from schemas.ehr import EhrResponse, SearchParameters

LastCheck = Callable[[], bool]
"""Called when the first byte of a write is about to leave. False stops the request: nothing is sent."""


class EhrEndpoint(Protocol):
    """One EHR. Never raises for what the EHR does: every response, refusal and silence is an EhrResponse."""

    async def active_encounter(self, subject_id: str, at: datetime) -> tuple[str | None, EhrResponse | None]:
        """Reference of the patient's encounter at that moment (`Encounter/…`), or None and the response that says so."""
        ...

    def forget_encounters(self, subject_id: str) -> None:
        """Look the patient's encounters up again next time: they may have changed."""
        ...

    async def create(self, resource: Mapping[str, Any], last_check: LastCheck | None = None) -> EhrResponse:
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

    async def search(
        self, resource_type: str, parameters: SearchParameters
    ) -> tuple[Sequence[Mapping[str, Any]], EhrResponse]:
        """Every resource that matches. `error` of the response is set unless the result is complete."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...
