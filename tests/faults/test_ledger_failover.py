"""The ledger's PostgreSQL becomes read-only, or does not keep what it confirms."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from adapters.ledger import migrate, open_ledger
from adapters.local.postgresql import PostgresServer
from schemas.errors import Misconfigured, RetryLater
from schemas.operation import State
from tests.conditions import wait_until
from tests.faults.test_ledger_database_away import intent


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer(Path("/dev/null")) as started:
        yield started


def administer(server: PostgresServer, *statements: str) -> None:
    with psycopg.connect(server.url().replace("+psycopg", ""), autocommit=True) as session:
        for statement in statements:
            session.execute(statement)  # type: ignore[call-overload]


def test_a_primary_that_became_read_only_is_retried_and_left_for_the_one_that_writes(server: PostgresServer):
    url = server.create_database("demoted")
    migrate(url)
    ledger = open_ledger(url, b"k" * 32)
    ledger.record([intent(1)])
    administer(server, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
    wait_for(server, "default_transaction_read_only", "on")
    try:
        for _ in range(2):
            with pytest.raises(RetryLater):
                ledger.record([intent(2).model_copy(update={"patient_id": "CANARY"})])
        with pytest.raises(RetryLater):
            ledger.states()
    finally:
        administer(
            server,
            "SET default_transaction_read_only = off",
            "ALTER SYSTEM RESET default_transaction_read_only",
            "SELECT pg_reload_conf()",
        )
        wait_for(server, "default_transaction_read_only", "off")
    ledger.record([intent(2)])
    assert ledger.states() == {"epic": {State.PENDING: 2}}
    ledger.close()


def wait_for(server: PostgresServer, setting: str, value: str) -> None:
    """The server reads its configuration again in its own time."""

    def shown() -> bool:
        with psycopg.connect(server.url().replace("+psycopg", ""), autocommit=True) as session:
            return session.execute("SELECT current_setting(%s)", (setting,)).fetchone() == (value,)

    wait_until(shown, what=f"{setting} {value}")


@pytest.mark.parametrize("setting", ["synchronous_commit", "fsync"])
def test_a_database_that_may_lose_what_it_confirmed_is_refused_at_start_with_the_remedy(
    server: PostgresServer, setting: str
):
    url = server.create_database(f"careless_{setting}")
    migrate(url)
    administer(server, f"ALTER SYSTEM SET {setting} = off", "SELECT pg_reload_conf()")
    wait_for(server, setting, "off")
    try:
        with pytest.raises(Misconfigured, match=f"Set {setting} to on"):
            open_ledger(url, b"k" * 32)
    finally:
        administer(server, f"ALTER SYSTEM RESET {setting}", "SELECT pg_reload_conf()")
        wait_for(server, setting, "on")
    open_ledger(url, b"k" * 32).close()
