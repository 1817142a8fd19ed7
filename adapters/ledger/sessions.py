"""Requirements for a session with PostgreSQL: it accepts writes, and its commits are durable."""

from __future__ import annotations

from typing import Any, NamedTuple

import psycopg
from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext

from schemas.errors import Misconfigured, RetryLater

_READ_ONLY = "25006"
_ASKED = (
    "SELECT pg_is_in_recovery(), current_setting('transaction_read_only') = 'on',"
    " current_setting('synchronous_commit'), current_setting('fsync')"
)


class Session(NamedTuple):
    """The settings of a new session."""

    in_recovery: bool
    read_only: bool
    synchronous_commit: str
    fsync: str


def require_lasting_writes(engine: Engine) -> None:
    """Check every new session, and close all sessions with a server that has become read-only."""
    event.listen(engine, "connect", _require)
    event.listen(engine, "handle_error", _leave_read_only)


def _require(connection: psycopg.Connection[Any], _record: object) -> None:
    try:
        row = connection.execute(_ASKED).fetchone()
        connection.rollback()
    except psycopg.Error as error:
        connection.close()
        raise RetryLater(f"the ledger's database does not respond ({type(error).__name__})") from None
    try:
        _require_lasting(Session(*(row or ())))
    except BaseException:
        connection.close()
        raise


def _require_lasting(session: Session) -> None:
    if session.in_recovery or session.read_only:
        raise RetryLater("the ledger's database accepts no writes: a standby, or a demoted primary")
    for setting in ("synchronous_commit", "fsync"):
        if getattr(session, setting) == "off":
            raise Misconfigured(
                f"The ledger's database has {setting} off: confirmed commits can be lost, and results charted twice."
                f" Set {setting} to on in postgresql.conf, or with ALTER SYSTEM, ALTER DATABASE or ALTER ROLE."
            )


def _leave_read_only(context: ExceptionContext) -> None:
    if getattr(context.original_exception, "sqlstate", None) == _READ_ONLY:
        context.is_disconnect = True
