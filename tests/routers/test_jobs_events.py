"""A job's events, over real sockets: each change is told, the end ends the stream, who leaves is forgotten."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest
from fastapi import FastAPI

from gateway.jobs.models import Claim, ErrorSummary, ErrorType
from gateway.jobs.phases import Phase
from gateway.jobs.store import JobStore
from gateway.settings import Settings
from tests.routers.test_cancellation import served
from tests.routers.test_jobs import QUERY
from tests.routers.test_settings import client_of


@pytest.fixture
async def browser(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with served(app) as port, httpx.AsyncClient(base_url=f"http://localhost:{port}", timeout=10) as client:
        yield client


async def create(client: httpx.AsyncClient, **params: str) -> str:
    """Create a job and give its identifier."""
    response = await client.post("/tap/async", data={"LANG": "ADQL", "QUERY": QUERY, **params})
    return urlsplit(response.headers["location"]).path.rpartition("/")[2]


async def claim(store: JobStore, database_url: str, job_id: str) -> Claim:
    """Do what a worker does first."""
    connection = await asyncpg.connect(database_url)
    queue = await connection.fetchval("SELECT queue FROM gateway.job_part WHERE job_id = $1", job_id)
    await connection.close()
    (claim,) = await store.claim(queue, worker="w", per_owner=9, lease=timedelta(minutes=1))
    return claim


class Events:
    """What a browser makes of a stream of events."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def next(self) -> tuple[str, dict[str, object]]:
        """Kind and content of the next event."""
        fields: dict[str, str] = {}
        async for line in self._lines:
            if line.startswith(":"):
                continue
            if not line and "data" in fields:
                return fields["event"], json.loads(fields["data"])
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
        raise EOFError


@asynccontextmanager
async def watching(client: httpx.AsyncClient, job_id: str, **headers: str) -> AsyncIterator[Events]:
    async with client.stream("GET", f"/api/v1/jobs/{job_id}/events", headers=headers) as response:
        yield Events(response)


async def test_every_change_is_told_until_the_end(
    browser: httpx.AsyncClient, store: JobStore, database_url: str
) -> None:
    job_id = await create(browser)
    async with asyncio.timeout(20), watching(browser, job_id) as events:
        assert events.response.status_code == 200
        assert events.response.headers["content-type"] == "text/event-stream"
        assert events.response.headers["cache-control"] == "no-store"
        kind, told = await events.next()
        assert (kind, told["phase"], told["jobId"]) == ("phase", "PENDING", job_id)
        assert told["href"] == f"{browser.base_url}/tap/async/{job_id}"
        await browser.post(f"/tap/async/{job_id}/phase", data={"PHASE": "RUN"})
        kind, told = await events.next()
        assert (kind, told["phase"]) == ("phase", "QUEUED")
        assert told["jobInfo"]["queuePosition"] == 1  # type: ignore[index]
        held = await claim(store, database_url, job_id)
        kind, told = await events.next()
        assert (kind, told["phase"]) == ("phase", "EXECUTING")
        connection = await asyncpg.connect(database_url)
        await connection.execute("UPDATE gateway.job_part SET progress = '{\"rows\": 12345}'")
        await connection.close()
        kind, told = await events.next()
        assert (kind, told["phase"], told["jobInfo"]["rows"]) == ("progress", "EXECUTING", 12345)  # type: ignore[index]
        error = ErrorSummary("line 1: <no>\nsuch\u2028thing", ErrorType.FATAL)
        assert await store.end(held, Phase.ERROR, error=error)
        kind, told = await events.next()
        assert (kind, told["phase"]) == ("phase", "ERROR")
        assert told["errorSummary"]["message"] == error.message  # type: ignore[index]
        with pytest.raises(EOFError):
            await events.next()


async def test_a_browser_that_comes_back_after_the_end_is_told_to_stay_away(browser: httpx.AsyncClient) -> None:
    job_id = await create(browser)
    await browser.post(f"/tap/async/{job_id}/phase", data={"PHASE": "ABORT"})
    async with watching(browser, job_id, **{"Last-Event-ID": "EXECUTING"}) as events:
        assert (await events.next())[1]["phase"] == "ABORTED"
    async with watching(browser, job_id, **{"Last-Event-ID": "ABORTED"}) as events:
        assert events.response.status_code == 204


async def test_who_leaves_is_forgotten(browser: httpx.AsyncClient, app: FastAPI) -> None:
    job_id = await create(browser)
    jobs = app.state.gateway.jobs
    async with watching(browser, job_id) as events:
        await events.next()
        assert jobs._watchers._seats.total() == 1
    async with asyncio.timeout(3):
        while jobs._watchers._seats.total() or jobs._signals.waiting:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("job_id", ["nope", "A" * 24])
async def test_events_of_no_job_are_a_problem(client: httpx.AsyncClient, job_id: str) -> None:
    answer = await client.get(f"/api/v1/jobs/{job_id}/events")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == 404


@pytest.mark.parametrize(("setting", "status"), [("event_streams", 503), ("event_streams_per_caller", 429)])
async def test_no_more_may_watch_than_the_setting_says(settings: Settings, setting: str, status: int) -> None:
    async with client_of(settings, **{setting: 0}) as client:
        job_id = await create(client, QUERY="x")
        answer = await client.get(f"/api/v1/jobs/{job_id}/events")
    assert answer.status_code == status
    assert int(answer.headers["retry-after"]) > 0
    assert setting in answer.json()["detail"]


async def test_a_job_says_where_its_events_are(browser: httpx.AsyncClient) -> None:
    job_id = await create(browser)
    told = (await browser.get(f"/tap/async/{job_id}")).text
    (url,) = re.findall("<events>(.*)</events>", told)
    async with browser.stream("GET", url) as response:
        assert response.status_code == 200
    await browser.post(f"/tap/async/{job_id}/phase", data={"PHASE": "ABORT"})
    assert "events" not in (await browser.get(f"/tap/async/{job_id}")).text
