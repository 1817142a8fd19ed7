"""What delivery needs for one endpoint: its kind and capabilities, and the ports that write its operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from mappings.result_kind import AnyResultKind
from schemas.capabilities import Capabilities, ResourceCapabilities
from schemas.endpoint_kinds import EndpointKind
from schemas.operation import Operation
from schemas.ports.clock import Clock
from schemas.ports.ehr import EhrEndpoint
from schemas.ports.ledger import Ledger
from streams.delivery.review import Review

Reviewing = Callable[[Operation, datetime], Review]
"""Compares an operation with the current records; RetryLater while they are not current."""


@dataclass(frozen=True, kw_only=True)
class DeliveryPorts:
    """One endpoint, and everything delivery needs to write to it."""

    endpoint: str
    kind: EndpointKind
    capabilities: Capabilities
    ehr: EhrEndpoint
    ledger: Ledger
    review: Reviewing
    clock: Clock
    result_kinds: Mapping[str, AnyResultKind]
    """By resource type."""

    def result_kind(self, operation: Operation) -> AnyResultKind:
        """The kind of result of the operation's resource type."""
        return self.result_kinds[operation.intent.resource_type]

    def resource_capabilities(self, operation: Operation) -> ResourceCapabilities:
        """The endpoint's capabilities for the operation's resource type."""
        return self.capabilities.of(operation.intent.resource_type)
