"""A query service on a small survey."""

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pyarrow as pa

from gateway.db.registry import Registry, publish_statements
from gateway.services.access import ANONYMOUS
from gateway.services.queries import QueryLimits, QueryService, ResultTable
from gateway.services.uploads import UploadLimits, Uploads
from gateway.vo.dali import UploadedPart
from gateway.vo.provenance import Publisher
from gateway.vo.tableset import Table
from gateway.vo.tap import TapRequest, UploadRef
from tests.db.support import MAKE_STARS, SURVEY, column, engine_on, execute_all, stars

LIMITS: Mapping[str, Any] = {
    "maxrec_default": 1_000_000,
    "maxrec_hard": 2_000_000,
    "time_limit": timedelta(minutes=1),
    "query_length": 10_000,
    "slots": 2,
    "slot_patience": timedelta(seconds=0.2),
}
UPLOADS = UploadLimits(max_bytes=2**20, max_rows=1000, max_columns=20, max_tables=2, max_fetched_bytes=2**20)

BIG = "SELECT id FROM survey.big"
SLOW = "SELECT COUNT(*) AS n FROM survey.big AS a, survey.big AS b, survey.big AS c"


async def make_survey(owner: asyncpg.Connection) -> None:
    """Publish survey.stars (3 rows) and survey.big (300,000 rows)."""
    await owner.execute(MAKE_STARS)
    await owner.execute("CREATE TABLE survey.big AS SELECT g::bigint AS id FROM generate_series(1, 300000) g")
    big = Table("survey", "big", (column("id", "long", "bigint"),), "survey", "big")
    for table in (stars(), big):
        await execute_all(owner, publish_statements(SURVEY, table, replace=False))


@asynccontextmanager
async def service_on(url: str, **limits: object) -> AsyncIterator[QueryService]:
    registry = Registry(url)
    async with engine_on(url) as engine:
        yield QueryService(
            engine=engine,
            registry=registry,
            index=None,
            uploads=Uploads(limits=UPLOADS),
            limits=QueryLimits(**{**LIMITS, **limits}),
            publisher=Publisher(software="x/1", name="us"),
        )
        await registry.aclose()


async def read(table: ResultTable) -> list[pa.RecordBatch]:
    async with aclosing(table):
        return [found async for found in table]


async def rows(service: QueryService, query: str, **request: Any) -> list[dict[str, object]]:
    table = await service.open(TapRequest(query, **request), ANONYMOUS)
    return [row for found in await read(table) for row in found.to_pylist()]


async def upload(service: QueryService, query: str, **files: Path) -> ResultTable:
    """Open a query with VOTable files as TAP_UPLOAD.<name>."""
    parts = {name: UploadedPart(name, path, path.stat().st_size) for name, path in files.items()}
    refs = tuple(UploadRef(name, f"param:{name}") for name in files)
    return await service.open(TapRequest(query, uploads=refs), ANONYMOUS, uploads=parts)
