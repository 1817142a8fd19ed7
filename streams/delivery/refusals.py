"""How often in a row each operation was refused for its token: only that is a matter for a person, not many attempts."""

from __future__ import annotations

from schemas.ehr import EhrResponse

_TOKEN_REFUSED = 401
_REMEMBERED = 10_000


class TokenRefusals:
    """Counts of one endpoint, kept by one worker: begun anew elsewhere, an operation is held later and never sooner."""

    def __init__(self) -> None:
        self._in_a_row: dict[str, int] = {}

    def before(self, operation_id: str) -> int:
        """Refusals in a row up to now."""
        return self._in_a_row.get(operation_id, 0)

    def note(self, operation_id: str, answer: EhrResponse) -> None:
        """Any other answer of the EHR shows that a token was accepted; silence, or a token server that is away, nothing."""
        if answer.status == _TOKEN_REFUSED:
            if len(self._in_a_row) >= _REMEMBERED:
                self._in_a_row.clear()
            self._in_a_row[operation_id] = self.before(operation_id) + 1
        elif answer.status is not None and answer.sent:
            self._in_a_row.pop(operation_id, None)
