"""Alembic's entry: migrate one chain on the connection that `gateway.db.migrate` hands over."""

from alembic import context
from sqlalchemy import Connection

from gateway.db.migrate import Chain

config = context.config
chain: Chain = config.attributes["chain"]
connection: Connection = config.attributes["connection"]

context.configure(connection=connection, target_metadata=chain.metadata(), **chain.comparison())
with context.begin_transaction():
    context.run_migrations()
