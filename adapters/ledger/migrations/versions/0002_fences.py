"""Fencing tokens of claims, permanent in_doubt, device and span of each operation, and reviewed fingerprints."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns. Operations that the previous version may have sent are in doubt."""
    for column in (
        sa.Column("fence", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("answered", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("in_doubt", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("device", sa.Text),
        sa.Column("first_us", sa.BigInteger),
        sa.Column("last_us", sa.BigInteger),
    ):
        op.add_column("operations", column)
    op.add_column("attempts", sa.Column("fence", sa.BigInteger, nullable=False, server_default="0"))
    with_device = sa.text("device IS NOT NULL")
    op.create_index(
        "operations_device",
        "operations",
        ["device", "first_us"],
        postgresql_where=with_device,
        sqlite_where=with_device,
    )
    op.create_index("operations_lane", "operations", ["lane"])
    op.create_table(
        "reviewed",
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("fingerprint", sa.Text, nullable=False),
    )
    op.execute(
        "UPDATE operations SET in_doubt = true WHERE state IN ('in_progress', 'unknown') OR attempts >"
        " (SELECT count(*) FROM attempts WHERE attempts.operation_id = operations.operation_id"
        " AND attempts.state NOT IN ('unknown', 'pending'))"
    )
