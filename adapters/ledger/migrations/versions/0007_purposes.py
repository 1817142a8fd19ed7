"""Purpose and kind of source of each operation, for counting; lanes are renamed to ordering keys."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

RENAMED_INDEXES = {
    "operations_lane": ("operations_ordering_key", "operations", ["ordering_key"], False),
    "lanes_due": ("ordering_keys_due", "ordering_keys", ["endpoint", "due_us"], True),
}


def upgrade() -> None:
    """Rename in place. Every operation of the version before is of a window, for the purpose "vitals"."""
    op.rename_table("lanes", "ordering_keys")
    op.execute("ALTER TABLE ordering_keys RENAME COLUMN lane TO ordering_key")
    op.execute("ALTER TABLE operations RENAME COLUMN lane TO ordering_key")
    op.execute("ALTER TABLE operations RENAME COLUMN source_ids TO source_part_ids")
    _rename_indexes()
    op.add_column("operations", sa.Column("purpose", sa.Text, nullable=False, server_default="vitals"))
    op.add_column("operations", sa.Column("source_kind", sa.Text, nullable=False, server_default="window"))
    op.add_column("tallies", sa.Column("purpose", sa.Text, nullable=False, server_default="vitals"))


def _rename_indexes() -> None:
    """SQLite cannot rename an index, so that there they are created again."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER INDEX lanes_pkey RENAME TO ordering_keys_pkey")
        for old, (new, *_) in RENAMED_INDEXES.items():
            op.execute(f"ALTER INDEX {old} RENAME TO {new}")
        return
    due = sa.text("due_us IS NOT NULL")
    for old, (new, table, columns, is_partial) in RENAMED_INDEXES.items():
        op.drop_index(old)
        op.create_index(new, table, columns, sqlite_where=due if is_partial else None)
