"""The number of records of a partition that retention removed before their results were durable."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Nothing was counted before."""
    op.add_column("positions", sa.Column("removed_unread", sa.BigInteger, nullable=False, server_default="0"))
