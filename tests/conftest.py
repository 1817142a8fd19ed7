"""Real servers for tests: containers where an engine answers, else started here. Each starts when first asked for."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import settings

from testbed.brokers import Broker, container, start_broker
from testbed.servers.hapi import HapiServer
from testbed.servers.postgresql import PostgresServer
from tests.containers import hapi_container, postgres_container

_numbers = itertools.count(1)
_MEASURED = ("unit", "golden", "property", "contract")

# How long an example takes depends on the machine, and no test may.
settings.register_profile("vitalwire", deadline=None)
settings.load_profile("vitalwire")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Measure coverage in the tests of `_MEASURED` only: the others run most of the code in processes of their own."""
    for item in items:
        if item.path.relative_to(Path(__file__).parent).parts[0] not in _MEASURED:
            item.add_marker(pytest.mark.no_cover)


class DatabaseServer(Protocol):
    def create_database(self, name: str) -> str: ...


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Apache Kafka."""
    place = tmp_path_factory.mktemp("kafka")
    kind = "container" if container.is_available() else "apache"
    with start_broker(kind, data_directory=place, log_file=place / "kafka.log") as started:
        yield started


@pytest.fixture(scope="session")
def embedded_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """The demo's broker: Kafka's protocol, memory only."""
    place = tmp_path_factory.mktemp("embedded")
    with start_broker("embedded", data_directory=place, log_file=place / "broker.log") as started:
        yield started


@pytest.fixture
def topic_prefix() -> str:
    """A prefix no other test uses, so that tests on one broker do not meet."""
    return f"t{os.getpid()}-{next(_numbers)}-"


@pytest.fixture(scope="session")
def hapi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Base URL of HAPI FHIR, refusing what is not valid and references to nothing."""
    if container.is_available():
        with hapi_container() as base_url:
            yield base_url
        return
    with HapiServer(tmp_path_factory.mktemp("hapi") / "hapi.log") as server:
        yield server.base_url


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    """PostgreSQL. A test that stops it starts one of its own instead: `PostgresServer(log_file)`."""
    if container.is_available():
        with postgres_container() as server:
            yield server
        return
    with PostgresServer(tmp_path_factory.mktemp("postgresql") / "postgresql.log") as local:
        yield local


@pytest.fixture
def postgres(postgres_server: DatabaseServer) -> str:
    """SQLAlchemy URL of an empty PostgreSQL database of this test's own."""
    return postgres_server.create_database(f"test_{next(_numbers)}")


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """SQLAlchemy URL of an empty database, of each kind there is; name one with `parametrize(..., indirect=True)`."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    url: str = request.getfixturevalue("postgres")
    return url
