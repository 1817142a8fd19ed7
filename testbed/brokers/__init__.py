"""The one place that chooses and starts a Kafka broker: given address, container, Apache Kafka, embedded, in this order."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from schemas.errors import Misconfigured
from testbed.brokers import apache, container, embedded
from testbed.brokers.broker import Broker, Kind
from testbed.brokers.given import GivenBroker

__all__ = ["Broker", "Kind", "start_broker"]

ADDRESS = "VITALWIRE_KAFKA"


def start_broker(kind: Kind | Literal["auto"] = "auto", *, data_directory: Path, log_file: Path) -> Broker:
    """A broker that answers. `auto` takes the first kind this machine can run; a named kind is forced."""
    broker = _broker(_first_available() if kind == "auto" else kind, data_directory, log_file)
    broker.start()
    return broker


def _first_available() -> Kind:
    if os.environ.get(ADDRESS):
        return "given"
    if container.is_available():
        return "container"
    if apache.is_available():
        return "apache"
    if embedded.is_available():
        return "embedded"
    raise Misconfigured(
        f"No Kafka broker can run here. Set {ADDRESS} to one that does, start Docker, or install Java 17 and Maven."
    )


def _broker(kind: Kind, data_directory: Path, log_file: Path) -> Broker:
    if kind == "given":
        address = os.environ.get(ADDRESS)
        if not address:
            raise Misconfigured(f"Set {ADDRESS} to the broker's address, e.g. kafka-1:9092,kafka-2:9092.")
        return GivenBroker(address)
    if kind == "container":
        if not container.is_available():
            raise Misconfigured("No container engine answers. Start Docker, or choose the kind apache or embedded.")
        return container.ContainerBroker()
    if kind == "apache":
        return apache.ApacheBroker(data_directory, log_file)
    return embedded.EmbeddedBroker(log_file)
