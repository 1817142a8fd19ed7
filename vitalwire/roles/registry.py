"""The roles of this version: the list behind `vitalwire worker`, the AsyncAPI document and the checks of the deployment.

Data only: the module that runs a role is imported when the role is run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from schemas import topics
from schemas.errors import Misconfigured
from schemas.topics import TopicSpec
from vitalwire.settings import Settings

_REFERENCE = (topics.PAIRINGS, topics.PATIENTS, topics.CONSENTS)


@dataclass(frozen=True, slots=True)
class RoleSpec:
    """A role: its name, `module:function` that runs it until SIGTERM, and the topics that it reads and writes."""

    name: str
    run: str
    receives: tuple[TopicSpec, ...]
    sends: tuple[TopicSpec, ...]

    def load(self) -> Callable[[Settings], bool]:
        """The function that runs the role. It returns true when the role must restart with a changed configuration."""
        module, _, function = self.run.partition(":")
        run: Callable[[Settings], bool] = getattr(import_module(module), function)
        return run


ROLES: tuple[RoleSpec, ...] = (
    RoleSpec(
        "telemetry",
        "vitalwire.roles.telemetry:run",
        receives=(topics.READINGS, topics.PROGRESS, *_REFERENCE),
        sends=(
            topics.WINDOWS,
            topics.LATE_READINGS,
            topics.QUARANTINE,
            topics.PROGRESS,
            topics.DLQ_TELEMETRY,
            topics.AUDIT,
            topics.HEARTBEATS,
        ),
    ),
    RoleSpec(
        "clinical",
        "vitalwire.roles.clinical:run",
        receives=(topics.WINDOWS, *_REFERENCE),
        sends=(topics.QUARANTINE, topics.AUDIT, topics.DLQ_CLINICAL, topics.HEARTBEATS),
    ),
    RoleSpec(
        "delivery",
        "vitalwire.roles.delivery:run",
        receives=_REFERENCE,
        sends=(topics.AUDIT, topics.CORRECTIONS, topics.HEARTBEATS),
    ),
)

NAMES = tuple(role.name for role in ROLES)


def role_named(name: str) -> RoleSpec:
    """The role of this name, or an error that lists the names."""
    for role in ROLES:
        if role.name == name:
            return role
    raise Misconfigured(f"There is no role '{name}'. Choose one of: {', '.join(NAMES)}.")
