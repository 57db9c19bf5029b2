"""A query ends with whoever wanted it: clients that leave, time that is up, a process that is killed (reliability F4 to F7).

Over real sockets: what a server does with a connection that breaks is part of the matter.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from urllib.parse import urlencode

import asyncpg
import httpx
import uvicorn
from asgi_lifespan import LifespanManager
from fastapi import FastAPI

from gateway.main import create_app
from gateway.settings import Settings
from tests.routers.test_clients import ENDLESS
from tests.routers.test_tap import fault

LARGE = "SELECT a.* FROM survey.stars AS a, survey.stars AS b, survey.stars AS c"
"""125 million rows: no buffer holds them."""
LAST_CHUNK = b"0\r\n\r\n"
"""End of a body; without it no client takes what came for a whole table."""

PATIENCE_S = 3.0
"""How soon everything is gone (reliability I6, I8)."""


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[int]:
    """Hold a server; gives its port."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, lifespan="off", log_level="error", timeout_graceful_shutdown=2
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def gateway(settings: Settings, **changes: object) -> AsyncIterator[int]:
    app = create_app(settings.model_copy(update={"maxrec_hard": 10**9} | changes))
    async with LifespanManager(app, startup_timeout=30, shutdown_timeout=30), served(app) as port:
        yield port


def request(query: str, form: str = "csv") -> bytes:
    body = urlencode({"LANG": "ADQL", "QUERY": query, "MAXREC": str(10**9), "RESPONSEFORMAT": form})
    return (
        "POST /tap/sync HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


async def active(database_url: str) -> int:
    """Statements of queries that run."""
    connection = await asyncpg.connect(database_url)
    try:
        count: int = await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE application_name = 'gw:sync' AND state <> 'idle' AND datname = current_database()"
        )
        return count
    finally:
        await connection.close()


async def gone(database_url: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while await active(database_url):
        assert time.monotonic() < deadline, "the statement runs on"
        await asyncio.sleep(0.05)


async def test_clients_that_leave_at_any_byte_leave_nothing_behind(
    settings: Settings, catalog: str, database_url: str
) -> None:  # F6, I6, I8
    """One slot: a query that kept it would keep the next one out."""
    async with gateway(settings, sync_slots=1, slot_patience=timedelta(seconds=PATIENCE_S)) as port:
        for taken in (1, 100, 5_000, 300_000, 1_000_000, 3_000_000):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(request(LARGE))
            assert (await reader.readexactly(15)) == b"HTTP/1.1 200 OK"
            await reader.readexactly(taken)
            writer.transport.abort()
        await gone(database_url)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            answer = await client.get("/scs/survey.stars", params={"RA": "10", "DEC": "20", "SR": "1"})
            assert answer.status_code == 200


async def test_client_that_leaves_before_the_first_row_ends_the_statement(
    settings: Settings, catalog: str, database_url: str
) -> None:  # F5
    async with gateway(settings, sync_slots=1) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request(ENDLESS))
        await until_active(database_url)
        writer.transport.abort()
        await gone(database_url)


async def end(reader: asyncio.StreamReader) -> bytes:
    """Last bytes of a connection that is closed in whatever way."""
    last = b""
    with suppress(ConnectionResetError):
        while piece := await reader.read(65536):
            last = (last + piece)[-100:]
    return last


async def until_active(database_url: str) -> None:
    async with asyncio.timeout(10):
        while not await active(database_url):
            await asyncio.sleep(0.02)


async def test_client_that_reads_nothing_is_cut_off(settings: Settings, catalog: str, database_url: str) -> None:  # F7
    async with gateway(settings, sync_slots=1, stall_limit=timedelta(seconds=0.5)) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
        writer.write(request(LARGE))
        await reader.readexactly(15)
        await gone(database_url)
        assert not (await end(reader)).endswith(LAST_CHUNK)
        writer.close()


async def test_time_limit_is_408_with_a_votable(settings: Settings, catalog: str, database_url: str) -> None:
    async with (
        gateway(settings, sync_slots=1, sync_time_limit=timedelta(seconds=0.6)) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        for form in ("votable", "csv", "parquet"):
            started = time.monotonic()
            answer = await client.post("/tap/sync", data={"LANG": "ADQL", "QUERY": ENDLESS, "RESPONSEFORMAT": form})
            assert time.monotonic() - started < PATIENCE_S
            assert answer.status_code == 408
            assert answer.headers["content-type"] == "application/x-votable+xml"
            assert "time limit of 0.6 s" in fault(answer)
            await gone(database_url)
        query = "SELECT TOP 1 table_name FROM tap_schema.tables"
        assert (await client.get("/tap/sync", params={"LANG": "ADQL", "QUERY": query})).status_code == 200


async def test_time_limit_while_rows_are_kept_is_408(settings: Settings, catalog: str, database_url: str) -> None:
    """FITS is sent when all rows are known; until then there is nothing that an error could stand behind."""
    async with (
        gateway(settings, sync_slots=1, sync_time_limit=timedelta(seconds=1)) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        data = {"LANG": "ADQL", "QUERY": LARGE, "RESPONSEFORMAT": "fits", "MAXREC": str(10**9)}
        answer = await client.post("/tap/sync", data=data)
        assert answer.status_code == 408
        assert "time limit of 1 s" in fault(answer)
        await gone(database_url)


async def test_time_limit_after_the_first_rows_is_told_in_the_table(
    settings: Settings, catalog: str, database_url: str
) -> None:  # DALI-47
    async with (
        gateway(settings, sync_slots=1, sync_time_limit=timedelta(seconds=1.5)) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client,
    ):
        data = {"LANG": "ADQL", "QUERY": LARGE, "RESPONSEFORMAT": "votable/td", "MAXREC": str(10**9)}
        answer = await client.post("/tap/sync", data=data)
        assert answer.status_code == 200
        end = answer.text[-2_000:]
        assert 'name="QUERY_STATUS" value="ERROR"' in end
        assert "time limit of 1.5 s" in end
        assert end.rstrip().endswith("</VOTABLE>")
        assert len(answer.content) > 100_000
        await gone(database_url)


SERVE = """
import json, sys, uvicorn
from gateway.main import create_app
from gateway.settings import Settings
uvicorn.run(create_app(Settings(**json.loads(sys.argv[1]))), port=int(sys.argv[2]), log_level="error")
"""


async def test_killed_process_leaves_a_cut_body_and_no_query(
    settings: Settings, catalog: str, database_url: str, unused_tcp_port: int
) -> None:  # F4
    record = settings.model_copy(update={"maxrec_hard": 10**9}).to_record()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVE, json.dumps(record), str(unused_tcp_port), env=dict(os.environ)
    )
    try:
        reader, writer = await connected(unused_tcp_port)
        writer.write(request(LARGE))
        await reader.readexactly(1_000_000)
        process.send_signal(signal.SIGKILL)
        assert not (await end(reader)).endswith(LAST_CHUNK)
        await gone(database_url)
        writer.close()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    async with asyncio.timeout(20):
        while True:
            try:
                return await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)
