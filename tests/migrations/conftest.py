from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from gateway.db.urls import DatabaseURL


@pytest.fixture
async def empty_database_url(database_url: str) -> AsyncIterator[str]:
    """Address of a database with nothing in it, beside the migrated one."""
    name = f"empty_{uuid4().hex}"
    server = await asyncpg.connect(database_url)
    await server.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    yield DatabaseURL.parse(database_url).with_database(name).libpq()
    await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await server.close()
