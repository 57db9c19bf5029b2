"""Clients that leave, stall or send too much: the query ends with them, and the limits hold (reliability F5, F6)."""

import asyncio
import gzip
import time
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import asyncpg
import httpx
import pytest
from asgi_lifespan import LifespanManager
from fastapi import FastAPI

from gateway.main import create_app
from gateway.settings import Settings

ENDLESS = "SELECT COUNT(*) AS n FROM " + ", ".join(f"tap_schema.columns AS c{n}" for n in range(6))
LONG = "SELECT a.* FROM survey.stars AS a, survey.stars AS b"
"""250,000 rows: more than fit into what lies between the database and a client."""


async def request(app: FastAPI, query: str, receive_then: Any, send: Any, accept_encoding: str = "identity") -> float:
    """Seconds that an answer took whose client behaves as told."""
    body = urlencode({"LANG": "ADQL", "QUERY": query, "MAXREC": "300000", "RESPONSEFORMAT": "csv"}).encode()
    first = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        return first.pop() if first else await receive_then()

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/tap/sync", "raw_path": b"/tap/sync", "query_string": b"", "root_path": "",
        "headers": [(b"host", b"localhost:8080"), (b"content-type", b"application/x-www-form-urlencoded"),
                    (b"accept-encoding", accept_encoding.encode())],
        "client": ("127.0.0.1", 1), "server": ("localhost", 8080), "state": {},
    }  # fmt: skip
    started = time.monotonic()
    async with asyncio.timeout(20):
        await app(scope, receive, send)
    return time.monotonic() - started


async def assert_no_query_runs(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    deadline = time.monotonic() + 3
    sql = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE application_name = 'gw:sync' AND state <> 'idle' AND datname = current_database()"
    )
    while await connection.fetchval(sql):
        assert time.monotonic() < deadline, "the query runs on"
        await asyncio.sleep(0.05)
    await connection.close()


async def test_query_ends_when_its_client_leaves(app: FastAPI, database_url: str) -> None:
    async def leave() -> Any:
        await asyncio.sleep(0.7)
        return {"type": "http.disconnect"}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    assert await request(app, ENDLESS, leave, send) < 4
    assert sent == []
    await assert_no_query_runs(database_url)


async def test_client_that_takes_nothing_is_cut_off(settings: Settings, catalog: str, database_url: str) -> None:
    del catalog
    app = create_app(settings.model_copy(update={"stall_limit": timedelta(seconds=0.5), "maxrec_hard": 300_000}))
    sent: list[Any] = []

    async def send(message: Any) -> None:
        if len(sent) == 2:  # the status line and one piece were taken
            await asyncio.Event().wait()
        sent.append(message)

    async def stay() -> Any:
        await asyncio.Event().wait()

    async with LifespanManager(app, startup_timeout=30, shutdown_timeout=30):
        assert await request(app, LONG, stay, send) < 8
        assert sent[-1]["more_body"]  # the body has no end: no client takes it for a whole one
        await assert_no_query_runs(database_url)


async def test_request_larger_than_allowed_is_refused(settings: Settings, catalog: str) -> None:
    app = create_app(settings.model_copy(update={"request_max_bytes": 10_000}))
    async with (
        LifespanManager(app, startup_timeout=30, shutdown_timeout=30),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost:8080") as client,
    ):
        for kind in ({"data": {"QUERY": "x" * 20_000}}, {"files": {"t": b"x" * 20_000}}):
            answer = await client.post("/tap/sync", **kind)
            assert 400 <= answer.status_code < 500
            assert "10000" in answer.text.replace(",", "")
        answer = await client.post("/tap/sync", data={"LANG": "ADQL", "QUERY": f"SELECT TOP 1 id FROM {catalog}"})
        assert answer.status_code == 200


async def taken(app: FastAPI, accept_encoding: str, bytes_per_second: float) -> tuple[dict[bytes, bytes], bytes]:
    """Headers and body of the long table as a client got them that takes so much."""
    start: dict[bytes, bytes] = {}
    pieces: list[bytes] = []

    async def send(message: Any) -> None:
        start.update(message.get("headers", ()))
        pieces.append(message.get("body", b""))
        await asyncio.sleep(len(pieces[-1]) / bytes_per_second)

    async def stay() -> Any:
        await asyncio.Event().wait()

    await request(app, LONG, stay, send, accept_encoding)
    return start, b"".join(pieces)


async def test_a_stream_is_packed_for_the_client_that_is_slow(settings: Settings, catalog: str) -> None:
    del catalog
    app = create_app(settings.model_copy(update={"maxrec_hard": 300_000}))
    async with LifespanManager(app, startup_timeout=30, shutdown_timeout=30):
        head, plain = await taken(app, "identity", 1e12)
        assert b"content-encoding" not in head
        assert head[b"vary"] == b"Accept-Encoding"
        head, fast = await taken(app, "gzip, deflate", 1e12)
        assert head[b"content-encoding"] == b"gzip"
        assert sorted(gzip.decompress(fast).splitlines()) == sorted(plain.splitlines())
        assert len(fast) == pytest.approx(len(plain), rel=0.001)
        _, slow = await taken(app, "gzip, deflate", 10e6)
        assert sorted(gzip.decompress(slow).splitlines()) == sorted(plain.splitlines())
        assert len(slow) < 0.8 * len(plain)


async def test_a_short_answer_comes_whole_with_its_length(client: httpx.AsyncClient, catalog: str) -> None:
    form = {"LANG": "ADQL", "QUERY": f"SELECT * FROM {catalog}", "RESPONSEFORMAT": "csv"}
    plain = await client.post("/tap/sync", data=form, headers={"Accept-Encoding": "identity"})
    packed = await client.post("/tap/sync", data=form, headers={"Accept-Encoding": "gzip"})
    assert int(plain.headers["content-length"]) == len(plain.content)
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(plain.content) / 2
    assert packed.content == plain.content


async def test_parquet_is_packed_already(client: httpx.AsyncClient, catalog: str) -> None:
    form = {"LANG": "ADQL", "QUERY": f"SELECT * FROM {catalog}", "RESPONSEFORMAT": "parquet"}
    answer = await client.post("/tap/sync", data=form, headers={"Accept-Encoding": "gzip"})
    assert "content-encoding" not in answer.headers
