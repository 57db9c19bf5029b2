"""What a database server says of itself."""

from __future__ import annotations

import asyncpg

from gateway.db.urls import DatabaseURL


async def server_version(url: str) -> str:
    """Version of the PostgreSQL behind an address, or why it cannot be told."""
    try:
        connection = await asyncpg.connect(DatabaseURL.parse(url).asyncpg(), timeout=5)
    except (OSError, asyncpg.PostgresError, TimeoutError) as e:
        return f"does not answer ({type(e).__name__})"
    try:
        return str(await connection.fetchval("SHOW server_version"))
    finally:
        await connection.close()
