"""The identity of the ledger's database, and the durable position of each partition."""

import sqlalchemy as sa
from alembic import op

from adapters.ledger.identity import VERSION_BEFORE

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the tables. The identity is stored when a worker first takes the ledger over.

    A ledger that a worker of the previous version has opened contains its key's fingerprint; a new one does not.
    """
    was_used = op.get_bind().execute(sa.text("SELECT 1 FROM ledger_key")).first() is not None
    identity = op.create_table(
        "ledger_identity",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("identity", sa.Text, nullable=False),
        sa.Column("incidents", sa.Integer, nullable=False),
        sa.Column("quiet_until_us", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(
        identity, [{"id": 1, "identity": VERSION_BEFORE if was_used else "", "incidents": 0, "quiet_until_us": 0}]
    )
    op.create_table(
        "positions",
        sa.Column("topic", sa.Text, primary_key=True),
        sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("next_offset", sa.BigInteger, nullable=False),
        sa.Column("in_doubt_before", sa.BigInteger, nullable=False),
    )
