"""Whether any byte of one request may have left this machine, as the HTTP library itself reports while it works.

An error's type does not say so: HTTP/2 raises `LocalProtocolError` also while it reads the response to a POST that was sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas.ports.ehr import LastCheck

_UNAUTHORIZED = 401


class WithheldError(Exception):
    """The request was stopped before its first byte was sent, or before it was sent a second time."""


class SendGuard:
    """httpx's `trace` extension of one request: runs between the ready connection and the first byte."""

    def __init__(self, last_check: LastCheck | None = None) -> None:
        self.may_have_arrived = False
        """The EHR may act on it."""
        self.has_left = False
        """Bytes of it were sent, if only to be refused for their token."""
        self._last_check = last_check

    async def trace(self, event: str, details: Mapping[str, Any]) -> None:
        """Called by httpcore for each step, e.g. `http2.send_request_headers.started`."""
        if event.endswith(".send_request_headers.started"):
            self._before_first_byte()
        elif event.endswith(".receive_response_headers.complete") and _status(details) == _UNAUTHORIZED:
            self.may_have_arrived = False  # refused for its token alone: with a new one it may be sent again

    def _before_first_byte(self) -> None:
        # After a GOAWAY the library would send again. Only a search shows whether the first request was processed.
        if self.may_have_arrived or (self._last_check is not None and not self._last_check()):
            raise WithheldError
        self.may_have_arrived = self.has_left = True


def _status(details: Mapping[str, Any]) -> object:
    """HTTP/1.1 reports (version, status, …), HTTP/2 (status, headers)."""
    returned = details.get("return_value")
    return next((part for part in returned if isinstance(part, int)), None) if isinstance(returned, tuple) else None
