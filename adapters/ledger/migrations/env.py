"""Runs migrations on the connection that `adapters.ledger.migrate` opened."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
