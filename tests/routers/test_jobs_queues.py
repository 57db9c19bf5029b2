"""TAP jobs in a real worker: which queue they wait in, and how soon they end in each format (reliability F21, F23, L3, L5)."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
import httpx
import pytest
from asgi_lifespan import LifespanManager

from gateway.jobs.options import Workshop
from gateway.jobs.store import JobStore
from gateway.main import create_app
from gateway.settings import Settings
from gateway.vo import formats
from tests.jobs.conftest import until, working
from tests.routers.test_clients import ENDLESS
from tests.support.timed import timed

LARGE = "SELECT a.* FROM survey.stars AS a, survey.stars AS b, survey.stars AS c"
"""125 million rows: they are being written when their end comes."""


@asynccontextmanager
async def serving(settings: Settings, **changes: object) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings.model_copy(update=changes))
    async with LifespanManager(app, startup_timeout=30, shutdown_timeout=30):
        transport = httpx.ASGITransport(app, client=("192.0.2.7", 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8080", timeout=30) as client:
            yield client


async def create(client: httpx.AsyncClient, query: str, **parameters: object) -> str:
    answer = await client.post("/tap/async", data={"QUERY": query, "LANG": "ADQL", "MAXREC": 10**9} | parameters)
    assert answer.status_code == 303, answer.text
    return httpx.URL(answer.headers["location"]).path


async def phase(client: httpx.AsyncClient, job: str) -> str:
    return (await client.get(f"{job}/phase")).text


async def queue_of(store: JobStore, job: str) -> str:
    (part,) = await store.parts(job.rpartition("/")[2])
    return part.queue


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def statements(database: asyncpg.Connection, job: str) -> int:
    count: int = await database.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE $1 AND state = 'active'",
        f"gw:{job.rpartition('/')[2]}:%",
    )
    return count


@pytest.fixture
def large(settings: Settings) -> Settings:
    """Settings that let a query go on for as long as it likes."""
    return settings.model_copy(update={"maxrec_hard": 10**9})


# -- which queue ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "changes", "duration", "queue"),
    [
        ("SELECT TOP 1 id FROM survey.stars", {}, None, "quick"),
        (LARGE, {}, None, "long"),
        (LARGE, {}, 30, "quick"),
        (LARGE, {"quick_cost": 1e12}, None, "quick"),
        ("SELECT id FROM survey.stars", {"quick_cost": 0}, None, "long"),
        (LARGE, {"quick_limit": timedelta(seconds=10)}, 30, "long"),
    ],
)
async def test_query_waits_in_the_queue_of_its_time_limit_or_of_the_planners_estimate(
    large: Settings,
    catalog: str,
    store: JobStore,
    query: str,
    changes: dict[str, object],
    duration: int | None,
    queue: str,
) -> None:
    async with serving(large, **changes) as client:
        job = await create(client, query)
        if duration is not None:
            await client.post(f"{job}/executionduration", data={"EXECUTIONDURATION": duration})
        await client.post(f"{job}/phase", data={"PHASE": "RUN"})
        assert await queue_of(store, job) == queue


# -- how soon it ends ------------------------------------------------------------------------------------------


@timed
async def test_aborted_job_ends_its_statement_within_three_seconds_in_every_format(
    large: Settings, catalog: str, database: asyncpg.Connection
) -> None:  # F21
    late = {}
    async with serving(large) as client, working(large, workshop=Workshop()):
        for form in formats.FORMATS:
            job = await create(client, LARGE, RESPONSEFORMAT=form.key, PHASE="RUN")
            await until(lambda job=job: statements(database, job), 30)
            await asyncio.sleep(0.2)  # it writes
            started = time.monotonic()
            await client.post(f"{job}/phase", data={"PHASE": "ABORT"})
            await until(lambda job=job: _none(database, job), 20)
            late[form.key] = time.monotonic() - started
            assert await phase(client, job) == "ABORTED"
            assert (await client.get(f"{job}/results/result")).status_code == 404
    assert max(late.values()) < 3, late


@timed
async def test_job_ends_within_three_seconds_of_its_time_limit(
    large: Settings, catalog: str, database: asyncpg.Connection
) -> None:  # F23
    async with serving(large) as client, working(large, workshop=Workshop()):
        for query in (ENDLESS, LARGE):  # before its first row, and while they are written
            job = await create(client, query, RESPONSEFORMAT="fits")
            await client.post(f"{job}/executionduration", data={"EXECUTIONDURATION": 2})
            await client.post(f"{job}/phase", data={"PHASE": "RUN"})
            await until(lambda job=job: statements(database, job), 30)
            started = time.monotonic()
            while await phase(client, job) == "EXECUTING":
                assert time.monotonic() - started < 5
                await asyncio.sleep(0.02)
            assert await phase(client, job) == "ABORTED"
            assert "execution duration" in (await client.get(f"{job}/error")).text
            await until(lambda job=job: _none(database, job), 1)


async def _none(database: asyncpg.Connection, job: str) -> bool:
    return not await statements(database, job)


# -- slots of callers -------------------------------------------------------------------------------------------


async def test_caller_beyond_its_slots_is_told_to_come_back(
    settings: Settings, catalog: str, database: asyncpg.Connection
) -> None:  # L3, R10
    limits = {"sync_slots_per_caller": 1, "slot_patience": timedelta(seconds=0.3)}
    async with serving(settings, sync_time_limit=timedelta(seconds=3), **limits) as client:
        form = {"LANG": "ADQL", "QUERY": ENDLESS}
        first = asyncio.create_task(client.post("/tap/sync", data=form))

        async def is_held() -> bool:
            return bool(await database.fetchval("SELECT count(*) FROM gateway.slot"))

        await until(is_held)
        refused = await client.post("/tap/sync", data={"LANG": "ADQL", "QUERY": "SELECT TOP 1 id FROM survey.stars"})
        assert refused.status_code == 503
        assert "sync_slots_per_caller" in refused.text
        assert int(refused.headers["Retry-After"]) > 0
        await first
        assert not await is_held()
        answer = await client.post("/tap/sync", data={"LANG": "ADQL", "QUERY": "SELECT TOP 1 id FROM survey.stars"})
        assert answer.status_code == 200


@pytest.mark.parametrize("changes", [{"sync_slots_per_caller": 0}, {"sync_slots_on_loopback": False}])
async def test_caller_without_a_limit_holds_no_slot(
    settings: Settings, catalog: str, database: asyncpg.Connection, changes: dict[str, object]
) -> None:  # L3
    app = create_app(settings.model_copy(update={"sync_slots_per_caller": 1} | changes))
    address = "192.0.2.7" if "sync_slots_per_caller" in changes else "127.0.0.1"
    async with LifespanManager(app, startup_timeout=30, shutdown_timeout=30):
        transport = httpx.ASGITransport(app, client=(address, 4711))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8080", timeout=30) as client:
            form = {"LANG": "ADQL", "QUERY": "SELECT TOP 1 id FROM survey.stars"}
            await database.execute(
                "INSERT INTO gateway.slot VALUES ('local', 1, 'x', now() + interval '1 h'), "
                "('192.0.2.7', 1, 'x', now() + interval '1 h')"
            )
            assert (await client.post("/tap/sync", data=form)).status_code == 200
