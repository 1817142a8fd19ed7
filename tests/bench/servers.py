"""The servers that benchmarks need: containers where an engine answers, else started here, as in the tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from adapters.kafka.topics import create_or_verify
from testbed.brokers import Kind, container, start_broker
from testbed.servers.hapi import HapiServer
from testbed.servers.postgresql import PostgresServer
from tests.containers import hapi_container, postgres_container

PARTITIONS = 4


class Database(Protocol):
    """A database server."""

    def create_database(self, name: str) -> str:
        """SQLAlchemy URL of an empty database."""
        ...


@contextmanager
def kafka(directory: Path) -> Iterator[str]:
    """Bootstrap servers of a new Apache Kafka with every topic."""
    kind: Kind = "container" if container.is_available() else "apache"
    with start_broker(kind, data_directory=directory / "kafka", log_file=directory / "kafka.log") as broker:
        create_or_verify(broker.bootstrap_servers, partitions=PARTITIONS)
        yield broker.bootstrap_servers


@contextmanager
def hapi(directory: Path) -> Iterator[str]:
    """Base URL of a real HAPI FHIR server. It does not validate, so that the client and not the server is measured."""
    if container.is_available():
        with hapi_container() as base_url:
            yield base_url
        return
    with HapiServer(directory / "hapi.log", validate=False) as server:
        yield server.base_url


@contextmanager
def postgresql(directory: Path) -> Iterator[Database]:
    """A PostgreSQL server that gives empty databases."""
    if container.is_available():
        with postgres_container() as server:
            yield server
        return
    with PostgresServer(directory / "postgresql.log") as local:
        yield local
