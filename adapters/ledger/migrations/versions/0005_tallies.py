"""Tallies of operations, and the indexes that purging needs."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the table with the current counts."""
    op.create_table(
        "tallies",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("endpoint", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
    )
    op.execute(
        "INSERT INTO tallies (endpoint, state, amount)"
        " SELECT endpoint, state, count(*) FROM operations GROUP BY endpoint, state"
    )
    settled = sa.text("settled_us IS NOT NULL")
    op.create_index("operations_settled", "operations", ["settled_us"], postgresql_where=settled, sqlite_where=settled)
    op.create_index("attempts_at", "attempts", ["at_us"])
