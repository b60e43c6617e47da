"""Alembic's entry: runs on the connection that `bedplate.store.migrate` hands over, in its transaction."""

from alembic import context

from bedplate.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=False)
context.run_migrations()
