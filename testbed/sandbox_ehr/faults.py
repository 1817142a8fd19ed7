"""Faults that tests and demos inject into the sandbox EHR: each for a number of requests, or with a probability."""

from __future__ import annotations

import random
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

FaultKind = Literal[
    "throttled",  # 429
    "unavailable",  # 503
    "error",  # 500, nothing written
    "commit_then_error",  # 500, written
    "commit_then_timeout",
    "commit_then_reset",
    "reset",
    "slow",
    "unauthorized",  # 401
    "expired_token",  # every token is forgotten, hence 401
    "forbidden",
    "conflict",  # 409
    "unprocessable",  # 422
    "already_exists",  # Epic 59189, nothing written
    "redirect",
    "duplicate_pages",
    "html",  # a proxy's page with status 200
]
Operation = Literal["create", "update", "search", "read", "token"]


class Fault(BaseModel):
    """One fault. With `count` it affects that many requests; without, every request until the faults are replaced."""

    model_config = ConfigDict(extra="forbid")

    kind: FaultKind
    operation: Operation = "create"
    resource: str = "Observation"
    count: int | None = Field(None, ge=1)
    after: int = Field(0, ge=0, description="the number of requests that pass first")
    probability: float = Field(1.0, ge=0, le=1)
    retry_after: str | None = None
    delay_s: float = Field(0.05, ge=0, description="how long `slow` waits; `commit_then_timeout` waits for ever")


class Faults:
    """The faults in effect. Their randomness is seeded, so that runs are repeatable."""

    def __init__(self, seed: int = 1) -> None:
        self._chance = random.Random(seed)  # noqa: S311 (no secret)
        self._set: list[Fault] = []
        self.struck: dict[str, int] = {}

    def put(self, faults: list[Fault]) -> None:
        """Replace all faults."""
        self._set = [fault.model_copy() for fault in faults]
        self.struck = {}

    def strike(self, operation: Operation, resource: str) -> Fault | None:
        """The fault that affects this request, if any."""
        for fault in self._set:
            if fault.operation != operation or (operation != "token" and fault.resource != resource):
                continue
            if fault.count == 0:
                continue
            if fault.after:
                fault.after -= 1
                continue
            if fault.probability < 1 and self._chance.random() >= fault.probability:
                continue
            if fault.count is not None:
                fault.count -= 1
            self.struck[fault.kind] = self.struck.get(fault.kind, 0) + 1
            return fault
        return None
