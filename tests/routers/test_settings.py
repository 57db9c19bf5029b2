"""Settings that limit what a request may use, each told by the answer to one that asks for more."""

import asyncio
import csv
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import asyncpg
import httpx
import pytest
from asgi_lifespan import LifespanManager
from astropy.table import Table
from pydantic import SecretStr

from gateway.main import create_app
from gateway.settings import Settings

from .test_clients import ENDLESS
from .test_tap import as_votable, ask, fault, upload


@asynccontextmanager
async def client_of(settings: Settings, **changes: object) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings.model_copy(update=changes))
    async with (
        LifespanManager(app, startup_timeout=30, shutdown_timeout=30),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost:8080", timeout=30) as client,
    ):
        yield client


async def test_upload_max_columns(settings: Settings) -> None:
    async with client_of(settings, upload_max_columns=3) as client:
        fits = as_votable(Table({f"c{n}": [1] for n in range(3)}), "binary2")
        assert (await upload(client, "SELECT * FROM TAP_UPLOAD.t", t=fits)).status_code == 200
        wide = as_votable(Table({f"c{n}": [1] for n in range(4)}), "binary2")
        answer = await upload(client, "SELECT * FROM TAP_UPLOAD.t", t=wide)
        assert answer.status_code == 400
        assert "3 columns" in fault(answer)


async def test_query_max_length(settings: Settings) -> None:
    async with client_of(settings, query_max_length=100) as client:
        query = "SELECT TOP 1 table_name FROM tap_schema.tables"
        assert (await ask(client, query.ljust(100))).status_code == 200
        answer = await ask(client, query.ljust(101))
        assert answer.status_code == 400
        assert "101 characters; at most 100" in fault(answer)


async def test_webhook_secret_and_webhook_hosts(settings: Settings) -> None:
    told = asyncio.get_running_loop().create_future()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not told.done():
            told.set_result((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/told"
        changes = {"webhook_secret": SecretStr("canary"), "webhook_hosts": ("127.0.0.1",)}
        async with client_of(settings, **changes) as client:
            created = await client.post("/tap/async", data={"QUERY": "SELECT 1", "LANG": "ADQL", "WEBHOOK": url})
            await client.post(f"{created.headers['location']}/phase", data={"PHASE": "ABORT"})
            head = await asyncio.wait_for(told, 20)
    assert head.startswith("POST /told ")
    assert "X-Gateway-Signature: t=" in head
    assert "canary" not in head


async def runs(database_url: str) -> None:
    """Wait until a query runs."""
    connection = await asyncpg.connect(database_url)
    running = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name = 'gw:sync' AND state = 'active' AND datname = current_database()"
    )
    async with asyncio.timeout(20):
        while not await connection.fetchval(running):
            await asyncio.sleep(0.02)
    await connection.close()


async def test_sync_slots(settings: Settings, database_url: str) -> None:
    async with client_of(
        settings, sync_slots=1, slot_patience=timedelta(seconds=0.3), sync_time_limit=timedelta(seconds=3)
    ) as client:
        long = asyncio.create_task(ask(client, ENDLESS))
        await runs(database_url)
        refused = await ask(client, "SELECT TOP 1 table_name FROM tap_schema.tables")
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
        assert "all 1 slots for queries are taken" in fault(refused)
        assert (await long).status_code == 408
        assert (await ask(client, "SELECT TOP 1 table_name FROM tap_schema.tables")).status_code == 200


DISTINCT = """SELECT COUNT(*) AS n FROM (SELECT DISTINCT a.column_name AS x, b.column_name AS y, c.column_name AS z
    FROM tap_schema.columns AS a, tap_schema.columns AS b, tap_schema.columns AS c) AS d"""
"""Some ten thousand rows to tell apart: a few megabytes."""


@pytest.mark.parametrize(("query_temp_limit", "status"), [("64kB", 400), ("1GB", 200)])
async def test_query_memory_and_query_temp_limit(settings: Settings, query_temp_limit: str, status: int) -> None:
    """What does not fit into the memory of a query goes to disk, and no more of it than is allowed."""
    async with client_of(settings, query_memory="64kB", query_temp_limit=query_temp_limit) as client:
        answer = await ask(client, DISTINCT)
        assert answer.status_code == status
        if status == 400:
            assert "temporary disk space" in fault(answer)


async def test_query_memory_that_suffices_needs_no_disk(settings: Settings) -> None:
    async with client_of(settings, query_memory="64MB", query_temp_limit="64kB") as client:
        assert (await ask(client, DISTINCT)).status_code == 200


async def identifier_of(client: httpx.AsyncClient, name: str) -> str:
    answer = await client.get("/sia2/query", params={"RESPONSEFORMAT": "csv"})
    return next(row["obs_publisher_did"] for row in csv.DictReader(answer.text.splitlines()) if row["obs_id"] == name)


async def test_cutout_max_pixels_sync(settings: Settings, archive: Path) -> None:
    async with client_of(settings, cutout_max_pixels_sync=300) as client:
        did = await identifier_of(client, "packed")
        small = await client.get("/soda/sync", params={"ID": did, "CIRCLE": "10 -20 0.01"})
        assert small.status_code == 200
        large = await client.get("/soda/sync", params={"ID": did, "CIRCLE": "10 -20 0.05"})
        assert large.status_code == 400
        assert "more than the 300 that one request may have (a job to /soda/async may have more)" in large.text


async def test_cutout_slots(settings: Settings, archive: Path) -> None:
    """Of more cutouts than there are slots some wait, and those that wait too long are told so."""
    changes = {"cutout_slots": 1, "slot_patience": timedelta(milliseconds=1)}
    async with client_of(settings, **changes) as client:
        params = {"ID": await identifier_of(client, "packed")}
        answers = await asyncio.gather(*(client.get("/soda/sync", params=params) for _ in range(6)))
        told = {answer.status_code: answer for answer in answers}
        assert set(told) == {200, 503}
        assert told[503].text.startswith("ServiceUnavailable: all 1 slots for cutouts are taken (cutout_slots)")
        assert int(told[503].headers["retry-after"]) > 0
        assert (await client.get("/soda/sync", params=params)).status_code == 200
