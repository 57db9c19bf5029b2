"""The connection of a registration, and its hold on a name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from gateway.errors import IngestError
from gateway.ingest.connection import admin_connection


@asynccontextmanager
async def register_session(admin_url: str) -> AsyncIterator[Any]:
    """Connect as the administrator of a database that is migrated."""
    async with admin_connection(admin_url) as connection:
        # Names of types come out with their schema, and no setting of the user's ends a long build.
        await connection.execute("SET search_path = pg_catalog, pg_temp")
        await connection.execute("SET statement_timeout = 0")
        if await connection.fetchval("SELECT to_regclass('tap_schema.tables') IS NULL"):
            raise IngestError("this database has no TAP_SCHEMA yet; run gateway migrate first")
        yield connection


@asynccontextmanager
async def name_lock(connection: Any, published: str) -> AsyncIterator[None]:
    """Be the only one who registers under this name; of the session, because an index is built outside of transactions."""
    key = f"gateway register {published.lower()}"
    if not await connection.fetchval("SELECT pg_try_advisory_lock(hashtextextended($1, 0))", key):
        raise IngestError(f"another gateway register of {published} is running; wait for its end, or stop it")
    yield  # given back with the session
