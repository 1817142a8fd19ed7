"""The servers of `conftest.py` as containers, where an engine answers."""

import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.conditions import wait_until

POSTGRES = "postgres:15"
HAPI = "hapiproject/hapi:v8.4.0-1"


class PostgresContainer:
    """PostgreSQL's image, asked for databases as the local server is."""

    def __init__(self, container: object) -> None:
        self._url: str = container.get_connection_url(driver="psycopg")  # type: ignore[attr-defined]

    def create_database(self, name: str) -> str:
        with psycopg.connect(self._url.replace("+psycopg", ""), autocommit=True) as session:
            session.execute(psycopg.sql.SQL("CREATE DATABASE {}").format(psycopg.sql.Identifier(name)))
        return self._url.rsplit("/", 1)[0] + "/" + name


@contextmanager
def postgres_container() -> Iterator[PostgresContainer]:
    from testcontainers.postgres import PostgresContainer as Container

    with Container(POSTGRES) as container:
        yield PostgresContainer(container)


@contextmanager
def hapi_container() -> Iterator[str]:
    from testcontainers.core.container import DockerContainer

    strict = {
        "hapi.fhir.validation.requests_enabled": "true",
        "hapi.fhir.enforce_referential_integrity_on_write": "true",
    }
    container = DockerContainer(HAPI).with_exposed_ports(8080)
    for name, value in strict.items():
        container.with_env(name, value)
    with container:
        base_url = f"http://{container.get_container_host_ip()}:{container.get_exposed_port(8080)}/fhir"
        wait_until(lambda: _answers(base_url), 180, what="HAPI FHIR in its container")
        yield base_url


def _answers(base_url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{base_url}/metadata", timeout=10) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
