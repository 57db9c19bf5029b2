from collections.abc import AsyncIterator

import asyncpg
import pytest

from gateway.services.queries import QueryService
from tests.db.support import admin
from tests.services.support import make_survey, service_on


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A superuser's connection to a database with a small survey."""
    async with admin(database_url) as connection:
        await make_survey(connection)
        yield connection


@pytest.fixture
async def service(database_url: str, owner: asyncpg.Connection) -> AsyncIterator[QueryService]:
    async with service_on(database_url) as service:
        yield service
