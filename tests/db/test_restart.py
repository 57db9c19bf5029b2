"""PostgreSQL goes away under our feet and comes back (reliability F8)."""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.db.engine import CatalogEngine
from gateway.embedded import take_lease
from gateway.embedded.layout import Layout
from gateway.errors import BackendUnavailableError
from tests.db.support import engine_on, rows, until

pytestmark = pytest.mark.slow

ENDLESS = "SELECT count(*) FROM (SELECT generate_series(1, 10000000000)) AS s"


@pytest.fixture
async def home() -> AsyncIterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="gw-", dir="/tmp"))  # short: a socket lies in it
    yield folder
    await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


async def test_queries_fail_clearly_during_a_restart_and_work_after_it(home: Path) -> None:
    lease = await asyncio.to_thread(take_lease, home, valkey=False, durable=False, grace=0.5)
    try:
        assert lease.servers.database_url is not None
        async with engine_on(lease.servers.database_url, role="postgres") as engine:
            assert await rows(engine, "SELECT 1 AS a") == [{"a": 1}]
            running = asyncio.create_task(rows(engine, ENDLESS))
            await asyncio.sleep(0.3)
            postmaster = (Layout(home).postgres / "postmaster.pid").read_text().splitlines()[0]
            os.kill(int(postmaster), signal.SIGQUIT)
            with pytest.raises(BackendUnavailableError):
                await running
            await until(lambda: works(engine), within_s=10)
    finally:
        await asyncio.to_thread(lease.stop)


async def works(engine: CatalogEngine) -> bool:
    try:
        return await rows(engine, "SELECT 1 AS a") == [{"a": 1}]
    except BackendUnavailableError:
        return False
