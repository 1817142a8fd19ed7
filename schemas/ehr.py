"""An EHR's response with its acknowledgement, the version of a resource, and the matches of a search."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

SearchParameters = tuple[tuple[str, str], ...]
"""FHIR search parameters, by name; a name may occur more than once."""


class Acknowledgement(StrEnum):
    """An EHR's acknowledgement of a request, in any protocol. The values are those of HL7 table 0008 (MSA-1)."""

    ACCEPT = "AA"
    """Processed."""
    ERROR = "AE"
    """Refused for its content: the same content will be refused again."""
    REJECT = "AR"
    """Not processed, for reasons other than its content, such as access, address, pace or the state of the chart."""


_REJECTING = frozenset({401, 403, 404, 405, 406, 407, 410, 412, 415, 421, 425, 429, 501})
_AMBIGUOUS = frozenset({303, 408, 409})


def http_acknowledgement(status: int) -> Acknowledgement | None:
    """What an HTTP status acknowledges; None where it leaves open whether the request was processed."""
    if status in (200, 201):
        return Acknowledgement.ACCEPT
    if status in _AMBIGUOUS:
        return None
    if status in _REJECTING or 300 <= status < 400:
        return Acknowledgement.REJECT
    return Acknowledgement.ERROR if 400 <= status < 500 else None


class EhrResponse(NamedTuple):
    """One response, or the lack of one. `sent` says whether the request may have reached the EHR.

    A status without `sent` is the token endpoint's: 401 means that it refused the client, 503 that it is unavailable.
    """

    status: int | None
    """Of HTTP; None where there was no response, or where the protocol has none."""
    headers: Mapping[str, str]
    body: bytes
    sent: bool
    error: str | None = None
    request: bytes | None = None
    """The body of the request exactly as it was sent; None if no byte was sent."""
    msa_1: Acknowledgement | None = None
    """The acknowledgement code of an HL7 v2 response."""

    @property
    def acknowledgement(self) -> Acknowledgement | None:
        """The acknowledgement, or None if the response does not contain one."""
        return self.msa_1 if self.status is None else http_acknowledgement(self.status)


class ResourceVersion(NamedTuple):
    """The version of the resource that the EHR reports as written."""

    resource_id: str | None
    version: str | None


class SearchMatches(NamedTuple):
    """What a search of the chart matched: resources of this very content, and how many contradict it."""

    same: tuple[ResourceVersion, ...]
    different: int
