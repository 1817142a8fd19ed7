"""Counts consecutive token refusals per operation. Only these lead to manual review, not the number of attempts."""

from __future__ import annotations

from schemas.ehr import EhrResponse

_UNAUTHORIZED = 401
_CAPACITY = 10_000


class TokenRefusals:
    """Counts of one endpoint in one worker. Another worker starts at zero, so it holds an operation later, never sooner."""

    def __init__(self) -> None:
        self._in_a_row: dict[str, int] = {}

    def count(self, operation_id: str) -> int:
        """Consecutive refusals so far."""
        return self._in_a_row.get(operation_id, 0)

    def note(self, operation_id: str, response: EhrResponse) -> None:
        """Any other response of the EHR proves that the token was accepted; no response, or no token, proves nothing."""
        if response.status == _UNAUTHORIZED:
            if len(self._in_a_row) >= _CAPACITY:
                self._in_a_row.clear()
            self._in_a_row[operation_id] = self.count(operation_id) + 1
        elif response.status is not None and response.sent:
            self._in_a_row.pop(operation_id, None)
