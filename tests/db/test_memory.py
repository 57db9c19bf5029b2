"""Streams hold two batches, however long they are (L1)."""

from pathlib import Path

import pytest

from gateway.db.engine import CatalogEngine
from tests.db.support import MINUTE, engine_on

STATM = Path("/proc/self/statm")
PAGE = 4096


async def drain(engine: CatalogEngine, count: int) -> int:
    sql = (
        f"SELECT g::bigint AS a, g * 0.5::float8 AS b, 'name ' || g AS c FROM (SELECT generate_series(1, {count}) g) s"
    )
    async with engine.session(time_limit=MINUTE, label="gw:test") as session:
        return sum([batch.num_rows async for batch in await session.execute(sql)])


@pytest.mark.slow
@pytest.mark.skipif(not STATM.exists(), reason="reads memory from /proc")
async def test_memory_does_not_grow_with_the_rows(database_url: str) -> None:
    def resident() -> int:
        return int(STATM.read_text().split()[1]) * PAGE

    async with engine_on(database_url) as engine:
        await drain(engine, 200_000)
        before = resident()
        assert await drain(engine, 3_000_000) == 3_000_000
        assert resident() - before < 32 * 2**20
