"""What an EHR is asked and what it answered, before judgement: the port of delivery, as a Protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from schemas.operation import Intent


class EhrAnswer(NamedTuple):
    """What an EHR answered, before judgement. `sent` tells whether the request may have reached it.

    A status of what was not sent comes from the token endpoint: 401 that it refused the client, 503 that it is away.
    """

    status: int | None
    headers: Mapping[str, str]
    body: bytes
    sent: bool
    error: str | None = None


LastCheck = Callable[[], bool]
"""Asked when the first byte of a write would go out: false keeps it here, and nothing was sent."""


class EhrEndpoint(Protocol):
    """One EHR. Never raises for what the EHR does: every answer, refusal and silence is an EhrAnswer."""

    async def active_encounter(self, subject_id: str, at: datetime) -> tuple[str | None, EhrAnswer | None]:
        """Reference of the patient's encounter at that moment (`Encounter/…`), or None with the answer that told so."""
        ...

    async def create(
        self, resource: Mapping[str, Any], intent: Intent, last_check: LastCheck | None = None
    ) -> EhrAnswer:
        """POST a resource, once."""
        ...

    async def update(
        self,
        resource_id: str,
        version: str | None,
        resource: Mapping[str, Any],
        last_check: LastCheck | None = None,
    ) -> EhrAnswer:
        """PUT an amendment, once."""
        ...

    async def find(self, intent: Intent) -> tuple[list[Mapping[str, Any]], EhrAnswer]:
        """Resources at the EHR that may be this intent: by identifier where it can, else patient, code and time."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...
