"""Connections to the ledger's database and its migrations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import Connection as SqliteConnection
from sqlite3 import OperationalError as SqliteBusy
from time import monotonic, sleep

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from adapters.ledger.sessions import require_lasting_writes
from schemas.errors import Misconfigured, RetryLater

_MIGRATIONS = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 0x76_69_74_61_6C
_POSTGRES = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "options": "-c statement_timeout=30000 -c lock_timeout=10000 -c idle_in_transaction_session_timeout=60000",
}
_WRITE_AHEAD_S = 10.0
READING = {"sqlite_begin": "DEFERRED"}


def connect(url: str) -> Engine:
    """An engine for `postgresql://…` or `sqlite:///…`. Nothing is contacted yet."""
    parsed = _parsed(url)
    if parsed.get_backend_name() == "postgresql":
        pool = {"pool_size": 8, "max_overflow": 8, "pool_timeout": 10}
        engine = create_engine(parsed, hide_parameters=True, connect_args=_POSTGRES, **pool)
        require_lasting_writes(engine)
        return engine
    if parsed.database and parsed.database != ":memory:":
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed, hide_parameters=True, connect_args={"check_same_thread": False, "timeout": 10})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


@contextmanager
def away_is_retry_later() -> Iterator[None]:
    """An unavailable database raises RetryLater. The message contains nothing of the statement."""
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        raise RetryLater(f"the ledger's database does not respond ({_kind(error)})") from None
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        raise RetryLater(f"the ledger's database closed the connection ({_kind(error)})") from None


def migrate(url: str) -> None:
    """Migrate the database's tables to this version. Safe to run from several workers concurrently.

    Misconfigured if they belong to a newer version: only a backup can restore the older one.
    """
    engine = connect(url)
    try:
        with away_is_retry_later(), engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
            config = migrations()
            _refuse_newer(_version(connection), ScriptDirectory.from_config(config))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()


def require_current(connection: Connection) -> None:
    """Misconfigured unless the tables are those of this version."""
    found, scripts = _version(connection), ScriptDirectory.from_config(migrations())
    _refuse_newer(found, scripts)
    wanted = scripts.get_current_head()
    if found != wanted:
        state = f"are at version {found}, this program needs {wanted}" if found else "do not exist yet"
        raise Misconfigured(
            f"the ledger's tables {state}: a clinical or delivery worker creates or migrates them when it starts"
        )


def _version(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _refuse_newer(found: str | None, scripts: ScriptDirectory) -> None:
    known = {script.revision for script in scripts.walk_revisions()}
    if found is not None and found not in known:
        raise Misconfigured(
            f"the ledger's tables are at version {found}, of a newer Vitalwire; this version supports "
            f"{scripts.get_current_head()}. Start the newer version, or see docs/operations.md, Upgrading: rollback"
        )


def migrations() -> Config:
    """Alembic's configuration, with the path of the migrations."""
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise Misconfigured("VITALWIRE_DATABASE is not a database URL; write postgresql://… or sqlite:///…") from None
    if parsed.drivername in {"postgres", "postgresql"}:
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() not in {"postgresql", "sqlite"}:
        raise Misconfigured(f"the ledger supports postgresql and sqlite, not '{parsed.get_backend_name()}'")
    return parsed


def _prepare_sqlite(connection: SqliteConnection, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun below, as this ledger needs them
    connection.execute("PRAGMA busy_timeout=10000")
    connection.execute("PRAGMA synchronous=FULL")
    _write_ahead(connection)


def _write_ahead(connection: SqliteConnection) -> None:
    """Several processes may open a new database at once; this one pragma does not wait for the others."""
    deadline = monotonic() + _WRITE_AHEAD_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except SqliteBusy:
            if monotonic() > deadline:
                raise
            sleep(0.01)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    mode = connection.get_execution_options().get("sqlite_begin", "IMMEDIATE")
    connection.exec_driver_sql(f"BEGIN {mode}")


def _kind(error: Exception) -> str:
    original = getattr(error, "orig", None) or error
    return type(original).__name__
