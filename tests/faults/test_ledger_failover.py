"""The ledger's PostgreSQL becomes read-only, does not keep what it confirms, fails over, or is restored from a backup."""

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from adapters.ledger import SqlLedger, migrate, open_ledger
from schemas.errors import Misconfigured, RetryLater, Unsafe
from schemas.operation import Outcome, State
from schemas.ports.kafka import GroupPosition, Position
from schemas.ports.ledger import OutboxEntries
from testbed.servers.postgresql import PostgresServer, programs
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
    ledger = open_ledger(url, b"k" * 32, subscribers=())
    ledger.record([intent("w1")])
    administer(server, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
    wait_for(server, "default_transaction_read_only", "on")
    try:
        for _ in range(2):
            with pytest.raises(RetryLater):
                ledger.record([intent("w2").model_copy(update={"patient_id": "CANARY"})])
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
    ledger.record([intent("w2")])
    assert ledger.states() == {"north-epic": {State.PENDING: 2}}
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
            open_ledger(url, b"k" * 32, subscribers=())
    finally:
        administer(server, f"ALTER SYSTEM RESET {setting}", "SELECT pg_reload_conf()")
        wait_for(server, setting, "on")
    open_ledger(url, b"k" * 32, subscribers=()).close()


def either_of(url: str, other: PostgresServer) -> str:
    """The URL of a database at whichever of two servers takes writes."""
    hosts = [re.search(r"@([^/]*)/", one).group(1) for one in (url, other.url())]  # type: ignore[union-attr]
    together = "&".join(f"host={host}" for host in hosts)
    return re.sub(r"@[^/]*/(\w+)$", rf"@/\1?{together}&target_session_attrs=read-write", url)


def take_over(ledger: SqlLedger, committed: int | None = None) -> bool:
    return ledger.take_over("vitals.windows", {0: GroupPosition(committed, 100)}, 0.0, OutboxEntries("delivery", []))


def recorded(ledger: SqlLedger, number: int) -> str:
    return ledger.record([intent(f"w{number}")], Position("vitals.windows", 0, number + 1))[0].operation_id


def test_a_promoted_standby_ends_a_running_worker_and_is_in_doubt_for_the_next(tmp_path: Path):
    with PostgresServer(tmp_path / "primary.log") as primary:
        url = primary.create_database("ledger")
        migrate(url)
        early = open_ledger(url, b"k" * 32, subscribers=())
        take_over(early)
        pending = recorded(early, 1)
        with primary.standby(tmp_path / "standby.log") as standby:
            ledger = open_ledger(either_of(url, standby), b"k" * 32, subscribers=())
            assert not take_over(ledger)
            (sent,) = ledger.claim("north-epic", 1, 60)
            recorded(ledger, 2)
            primary.kill()
            with pytest.raises(RetryLater):
                ledger.states()
            standby.promote()
            for _ in range(2):
                with pytest.raises(Unsafe):
                    ledger.claim("north-epic", 9, 60)
            with pytest.raises(Unsafe):
                ledger.settle({sent.operation_id: Outcome(state=State.SUCCEEDED, fence=sent.fence)})

            after = open_ledger(either_of(url, standby), b"k" * 32, subscribers=())
            assert take_over(after)
            kept = after.operation(pending)
            assert kept is not None
            assert (kept.state, kept.in_doubt) == (State.UNKNOWN, True)
            assert after.positions("vitals.windows") == {0: 2}
            assert after.states() == {"north-epic": {State.UNKNOWN: 1}}
            for one in (early, ledger, after):
                one.close()


def test_a_standby_that_is_not_promoted_is_waited_for(tmp_path: Path, server: PostgresServer):
    url = server.create_database("followed")
    migrate(url)
    with server.standby(tmp_path / "standby.log") as standby, pytest.raises(RetryLater, match="accepts no writes"):
        open_ledger(standby.url("followed"), b"k" * 32, subscribers=())


def dump(url: str, file: Path) -> None:
    run("pg_dump", "--format=custom", f"--file={file}", url.replace("+psycopg", ""))


def run(program: str, *arguments: str) -> None:
    folder = programs()
    assert folder is not None
    subprocess.run([folder / program, *arguments], check=True, capture_output=True)


def test_a_restored_dump_is_in_doubt_in_a_new_database_and_in_the_old_one(server: PostgresServer, tmp_path: Path):
    url = server.create_database("dumped")
    migrate(url)
    ledger = open_ledger(url, b"k" * 32, subscribers=())
    take_over(ledger)
    recorded(ledger, 1)
    dump(url, tmp_path / "dump")
    into_new = server.create_database("restored")
    run("pg_restore", "--dbname", into_new.replace("+psycopg", ""), str(tmp_path / "dump"))
    run("pg_restore", "--clean", "--dbname", url.replace("+psycopg", ""), str(tmp_path / "dump"))
    for restored in (into_new, url):
        again = open_ledger(restored, b"k" * 32, subscribers=())
        assert take_over(again)
        assert again.states() == {"north-epic": {State.UNKNOWN: 1}}
        again.close()
    ledger.close()


def test_a_server_whose_log_was_set_back_ends_a_running_worker_and_is_in_doubt_for_the_next(tmp_path: Path):
    """A machine's snapshot brings the same cluster back on the same timeline; only its log is shorter than was confirmed."""
    with PostgresServer(tmp_path / "postgresql.log") as server:
        url = server.create_database("ledger")
        migrate(url)
        ledger = open_ledger(url, b"k" * 32, subscribers=())
        take_over(ledger)
        recorded(ledger, 1)
        server.stop()
        data = server.home / "data"
        snapshot = tmp_path / "snapshot"
        subprocess.run(["cp", "-a", data, snapshot], check=True)
        server.start()
        for number in range(2, 50):
            insisting(lambda number=number: recorded(ledger, number))
        server.stop()
        subprocess.run(["rm", "-r", data], check=True)
        subprocess.run(["cp", "-a", snapshot, data], check=True)
        server.start()
        with pytest.raises(Unsafe):
            insisting(lambda: ledger.claim("north-epic", 1, 60))
        after = open_ledger(url, b"k" * 32, subscribers=())
        assert take_over(after)
        assert after.states() == {"north-epic": {State.UNKNOWN: 1}}
        ledger.close()
        after.close()


def insisting(work: Callable[[], object]) -> None:
    """A session that ended with its server is met once."""
    try:
        work()
    except RetryLater:
        work()
