"""Whether any byte of one request may have left this machine, as the HTTP library itself tells while it works.

An error's type does not say so: HTTP/2 raises `LocalProtocolError` also while it reads the answer to a POST that was written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas.ports.ehr import LastCheck

_TOKEN_REFUSED = 401


class WithheldError(Exception):
    """The request was stopped before its first byte (or before its second sending) went out."""


class Departure:
    """httpx's `trace` extension of one request: stands between the ready connection and the first byte."""

    def __init__(self, last_check: LastCheck | None = None) -> None:
        self.left = False
        self._last_check = last_check

    async def trace(self, event: str, told: Mapping[str, Any]) -> None:
        """Called by httpcore for each step, e.g. `http2.send_request_headers.started`."""
        if event.endswith(".send_request_headers.started"):
            self._about_to_leave()
        elif event.endswith(".receive_response_headers.complete") and _status(told) == _TOKEN_REFUSED:
            self.left = False  # refused for its token alone: with a new one it may leave again

    def _about_to_leave(self) -> None:
        # After a GOAWAY the library would send by itself once more. Whether the first one was written, only a search tells.
        if self.left or (self._last_check is not None and not self._last_check()):
            raise WithheldError
        self.left = True


def _status(told: Mapping[str, Any]) -> object:
    """HTTP/1.1 tells (version, status, …), HTTP/2 (status, headers)."""
    answer = told.get("return_value")
    return next((part for part in answer if isinstance(part, int)), None) if isinstance(answer, tuple) else None
