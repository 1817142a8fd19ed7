"""What an EHR answered, before judgement: a response, the version of a resource, and what a search matched."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class EhrResponse(NamedTuple):
    """What an EHR answered, before judgement. `sent` tells whether the request may have reached it.

    A status of what was not sent comes from the token endpoint: 401 that it refused the client, 503 that it is away.
    """

    status: int | None
    headers: Mapping[str, str]
    body: bytes
    sent: bool
    error: str | None = None


class ResourceVersion(NamedTuple):
    """What the EHR says it wrote."""

    resource_id: str | None
    version: str | None


class SearchMatches(NamedTuple):
    """What a search of the chart brought: Observations of this very content, and how many say something else."""

    same: tuple[ResourceVersion, ...]
    different: int
