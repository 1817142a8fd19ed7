"""The result of one attempt: the verdict and its evidence. Pure."""

from __future__ import annotations

from typing import NamedTuple

from schemas.ehr import EhrResponse
from streams.delivery.verdict import Verdict


class AttemptResult(NamedTuple):
    """The verdict and its evidence."""

    verdict: Verdict
    http_status: int | None = None
    request: bytes | None = None
    """The bytes that were sent."""
    response: bytes | None = None
    in_doubt: bool = False
    """It may have been written, and a complete search did not find it or was impossible."""


def with_evidence(verdict: Verdict, response: EhrResponse) -> AttemptResult:
    """The verdict on a response, with what was sent and received."""
    return AttemptResult(verdict, response.status, response.request, response.body or None)
