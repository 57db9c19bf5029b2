"""What the tests of databases share."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
import pyarrow as pa

from gateway.db.engine import CatalogEngine
from gateway.vo.tableset import Column, Datatype, Field, Schema, SkyIndex, Table, VOType

MINUTE = timedelta(minutes=1)


@asynccontextmanager
async def engine_on(url: str, **options: object) -> AsyncIterator[CatalogEngine]:
    engine = CatalogEngine(url, **({"size": 2} | options))  # type: ignore[arg-type]
    try:
        yield engine
    finally:
        await engine.aclose()


@asynccontextmanager
async def admin(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def rows(engine: CatalogEngine, sql: str, *, time_limit: timedelta = MINUTE) -> list[dict[str, object]]:
    async with engine.session(time_limit=time_limit, label="gw:test") as session:
        stream = await session.execute(sql)
        return [row async for batch in stream for row in batch.to_pylist()]


async def execute_all(connection: asyncpg.Connection, statements: list[str]) -> None:
    async with connection.transaction():
        for statement in statements:
            await connection.execute(statement)


async def until(claim: Callable[[], object], *, within_s: float = 3.0) -> None:
    """Wait for an awaitable claim about another process to become true."""
    deadline = time.monotonic() + within_s
    while not await claim():  # type: ignore[misc]
        assert time.monotonic() < deadline, "not in time"
        await asyncio.sleep(0.02)


async def active(connection: asyncpg.Connection, label: str) -> int:
    """Number of backends that work for a label."""
    count: int = await connection.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND state = 'active' AND datname = current_database()",
        label,
    )
    return count


def column(name: str, datatype: str, sql_type: str, arraysize: str | None = None, **more: object) -> Column:
    kind = VOType(Datatype(datatype), arraysize, more.pop("xtype", None))  # type: ignore[arg-type]
    return Column(Field(name, kind, **more), physical=name, sql_type=sql_type)  # type: ignore[arg-type]


def stars(physical_schema: str = "survey", physical_name: str = "stars", **more: object) -> Table:
    return Table(
        **(  # type: ignore[arg-type]
            {
                "schema": "survey",
                "name": "stars",
                "columns": (
                    column("id", "long", "bigint", ucd="meta.id;meta.main"),
                    column("ra", "double", "double precision", unit="deg", ucd="pos.eq.ra;meta.main"),
                    column("dec", "double", "double precision", unit="deg", ucd="pos.eq.dec;meta.main"),
                    column("name", "char", "text", "*"),
                ),
                "physical_schema": physical_schema,
                "physical_name": physical_name,
                "description": "Some stars",
                "nrows": 3,
                "sky": SkyIndex("ra", "dec", "gw_hpx29", has_zones=True),
            }
            | more
        )
    )


SURVEY = Schema("survey", (), description="A survey")

MAKE_STARS = """
    CREATE SCHEMA survey;
    CREATE TABLE survey.stars (id bigint, ra float8, dec float8, name text, gw_hpx29 bigint, secret text);
    INSERT INTO survey.stars VALUES (1, 10, 20, 'a', 7, 'x'), (2, 11, 21, 'b', 8, 'y'), (3, NULL, NULL, NULL, NULL, 'z');
    CREATE TABLE survey.hidden (id bigint);
"""


def batch(**columns: object) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(columns)
