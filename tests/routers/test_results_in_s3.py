"""A gateway whose results lie in S3: all that clients see is the same, but where the bytes come from (F15, F22, A18)."""

import asyncio
import io
import socket
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from asgi_lifespan import LifespanManager
from astropy.table import Table

from gateway.context import open_task_services
from gateway.jobs.phases import Phase
from gateway.jobs.store import JobStore
from gateway.jobs.tasks import Work, run_query
from gateway.main import create_app
from gateway.settings import Settings
from gateway.stores import open_results
from tests.support.s3 import Fault, S3Server

from .test_results import ALL, claimed
from .test_stored import CONTENT, completed


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path, s3: S3Server, bucket: Any) -> Settings:
    return Settings(
        home=tmp_path / "home",
        database_url=database_url,
        redis_url=redis_url,
        results=f"s3://{bucket[1]}/jobs",
        results_endpoint=s3.url,
        results_timeout=timedelta(seconds=1),
    )


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[JobStore]:
    async with JobStore.open(database_url) as store:
        yield store


async def names(bucket: Any) -> list[str]:
    found = await bucket[0].list_objects_v2(Bucket=bucket[1])
    return [one["Key"] for one in found.get("Contents", ())]


async def test_job_with_an_upload_lives_and_dies_in_s3(
    client: httpx.AsyncClient, settings: Settings, store: JobStore, bucket: Any
) -> None:
    table = io.BytesIO()
    Table({"n": [1, 2, 3]}).write(table, format="votable")
    form = {
        "LANG": "ADQL",
        "QUERY": "SELECT n FROM TAP_UPLOAD.t ORDER BY n",
        "UPLOAD": "t,param:t",
        "RESPONSEFORMAT": "csv",
    }
    created = await client.post("/tap/async", data=form, files={"t": table.getvalue()})
    url = created.headers["location"]
    await client.post(f"{url}/phase", data={"PHASE": "RUN"})
    claim = await claimed(store)
    async with open_task_services(settings.to_record()) as services:
        results = await run_query(Work.from_json(claim.to_json()), services)
    assert await store.end(claim, Phase.COMPLETED, results=results)
    assert len(await names(bucket)) == 3
    assert all(name.startswith(f"jobs/{claim.job_id}/") for name in await names(bucket))

    assert (await client.get(f"{url}/results/result")).text.split() == ["n", "1", "2", "3"]
    again = await client.get(f"{url}/results/result", params={"RESPONSEFORMAT": "tsv", "OFFSET": "1", "MAXREC": "1"})
    assert again.text.split() == ["n", "2"]
    assert (await client.get(f"{url}/parameters/t")).content == table.getvalue()

    async with open_results(settings) as results_store:
        assert await results_store.sweep(age=timedelta(seconds=-5), referenced=store.referenced) == 0
    assert (await client.delete(url)).status_code == 303
    assert await names(bucket) == []
    assert (await client.get(f"{url}/results/result")).status_code == 404


async def test_bytes_go_through_us_by_default(client: httpx.AsyncClient, settings: Settings, store: JobStore) -> None:
    async with open_results(settings) as results:
        url = await completed(client, store, results)
    answer = await client.get(url)
    assert (answer.status_code, answer.content) == (200, CONTENT)
    part = await client.get(url, headers={"Range": "bytes=300000-300009"})
    assert (part.status_code, part.content) == (206, CONTENT[300_000:300_010])


async def test_results_delivery_redirect(settings: Settings, catalog: str, store: JobStore) -> None:  # A18
    changed = settings.model_copy(update={"results_delivery": "redirect", "results_link_life": timedelta(minutes=5)})
    app = create_app(changed)
    transport = httpx.ASGITransport(app)
    async with (
        LifespanManager(app, startup_timeout=30, shutdown_timeout=30),
        httpx.AsyncClient(transport=transport, base_url="http://localhost:8080") as client,
        httpx.AsyncClient() as direct,
        open_results(settings) as results,
    ):
        url = await completed(client, store, results)
        answer = await client.get(url)
        assert (answer.status_code, answer.content) == (303, b"")
        assert answer.headers["cache-control"] == "no-store"
        assert "X-Amz-Expires=300" in answer.headers["location"]
        fetched = await direct.get(answer.headers["location"])
        assert (fetched.status_code, fetched.content) == (200, CONTENT)
        assert fetched.headers["content-type"] == "application/fits"
        assert fetched.headers["content-disposition"] == "inline; filename*=UTF-8''result.fits"
        # what needs no bytes is answered at once, and a job that is gone gives no URL
        head = await client.head(url)
        assert (head.status_code, head.headers["content-length"]) == (200, str(len(CONTENT)))
        assert (await client.get(url, headers={"If-None-Match": head.headers["etag"]})).status_code == 304
        await client.delete(url.partition("/results")[0])
        assert (await client.get(url)).status_code == 404
        assert (await direct.get(answer.headers["location"])).status_code in {403, 404}


async def test_store_that_is_away_is_503(
    client: httpx.AsyncClient, settings: Settings, store: JobStore, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:  # F15
    monkeypatch.setattr("random.uniform", lambda *_: 0.01)
    async with open_results(settings) as results:
        url = await completed(client, store, results)
    s3.break_down(Fault("HEAD", "status", times=99), Fault("PUT", "status", times=99))
    answer = await client.get(url)
    assert answer.status_code == 503
    assert "retry-after" in answer.headers
    assert str(s3.port) not in answer.text
    created = await client.post("/tap/async", data={"QUERY": ALL, "UPLOAD": "t,param:t"}, files={"t": b"x"})
    assert created.status_code == 503
    s3.break_down()
    assert (await client.get(url)).content == CONTENT


async def test_results_timeout(
    client: httpx.AsyncClient, settings: Settings, store: JobStore, s3: S3Server
) -> None:  # F15: one second, see `settings` above
    async with open_results(settings) as results:
        url = await completed(client, store, results)
    s3.break_down(Fault("HEAD", "hang", seconds=20))
    async with asyncio.timeout(15):
        assert (await client.get(url)).content == CONTENT
    assert s3.left() == 0


async def test_body_that_breaks_off_is_cut_and_no_short_result(
    settings: Settings, catalog: str, store: JobStore, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("random.uniform", lambda *_: 0.01)
    app = create_app(settings)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        base = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            async with httpx.AsyncClient(base_url=base, timeout=30) as client, open_results(settings) as results:
                async with asyncio.timeout(30):
                    while not server.started:
                        await asyncio.sleep(0.05)
                url = await completed(client, store, results)
                s3.break_down(Fault("GET", "cut", after=500_000), Fault("GET", "status", times=99))
                with pytest.raises(httpx.RemoteProtocolError):
                    await client.get(url)
                s3.break_down(Fault("GET", "cut", after=500_000))
                assert (await client.get(url)).content == CONTENT
                assert s3.left() == 0
        finally:
            server.should_exit = True
            await serving
