"""Operations, lanes, attempts and the key's fingerprint."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables."""
    _operations()
    _lanes()
    _attempts()
    op.create_table(
        "ledger_key",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
    )


def _operations() -> None:
    op.create_table(
        "operations",
        sa.Column("sequence", SERIAL, primary_key=True, autoincrement=True),
        sa.Column("operation_id", sa.Text, nullable=False, unique=True),
        sa.Column("event_key", sa.Text, nullable=False),
        sa.Column("tenant_id", sa.Text, nullable=False),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("lane", sa.Text, nullable=False),
        sa.Column("resource_type", sa.Text, nullable=False),
        sa.Column("source_event_id", sa.Text, nullable=False),
        sa.Column("content_hash", sa.Text, nullable=False),
        sa.Column("source_ids", sa.Text, nullable=False),
        sa.Column("intent", sa.LargeBinary, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("amends", sa.Text),
        sa.Column("resource_id", sa.Text),
        sa.Column("version", sa.Text),
        sa.Column("http_status", sa.Integer),
        sa.Column("code", sa.Text),
        sa.Column("message", sa.Text),
        sa.Column("created_us", sa.BigInteger, nullable=False),
        sa.Column("due_us", sa.BigInteger),
        sa.Column("settled_us", sa.BigInteger),
    )
    op.create_index("operations_event", "operations", ["event_key"])
    op.create_index("operations_state", "operations", ["endpoint", "state"])
    _index_where_due("operations_open", "operations", ["lane", "sequence"])


def _lanes() -> None:
    op.create_table(
        "lanes",
        sa.Column("lane", sa.Text, primary_key=True),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("head", sa.BigInteger),
        sa.Column("due_us", sa.BigInteger),
    )
    _index_where_due("lanes_due", "lanes", ["endpoint", "due_us"])


def _attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("id", SERIAL, primary_key=True, autoincrement=True),
        sa.Column("operation_id", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("at_us", sa.BigInteger, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("http_status", sa.Integer),
        sa.Column("code", sa.Text),
        sa.Column("request", sa.LargeBinary),
        sa.Column("response", sa.LargeBinary),
    )
    op.create_index("attempts_operation", "attempts", ["operation_id"])


def _index_where_due(name: str, table: str, columns: list[str]) -> None:
    due = sa.text("due_us IS NOT NULL")
    op.create_index(name, table, columns, postgresql_where=due, sqlite_where=due)
