"""The tables of ADQL's tests as a catalog that the query role reads."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.db.roles import QUERY_ROLE
from tests.db.support import admin
from tests.support.servers import Administrator
from tests.vo.adql import tables


@contextmanager
def adql_catalog(server: Administrator, template: str, *more: str) -> Iterator[str]:
    """URL of a new database with these tables, and with what more statements make."""
    url = server.create(template)
    grants = (
        f"GRANT USAGE ON SCHEMA survey, other TO {QUERY_ROLE}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA survey, other TO {QUERY_ROLE}",
    )

    async def fill() -> None:
        async with admin(url) as owner:
            for statement in (*tables.statements(), *grants, *more):
                await owner.execute(statement)

    asyncio.run(fill())
    yield url
    server.drop(url)
