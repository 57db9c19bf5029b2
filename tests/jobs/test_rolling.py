"""Processes that are restarted in turn while jobs run and clients wait (reliability F18)."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx

from gateway.jobs.models import AttemptEnding
from gateway.jobs.phases import Phase
from gateway.jobs.service import JobService
from gateway.jobs.store import JobStore
from gateway.serve.claims import listen
from gateway.serve.environment import environment
from gateway.settings import Settings
from tests.jobs.conftest import add, ended, until
from tests.jobs.test_worker_process import worker_process


@asynccontextmanager
async def api_process(settings: Settings) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """Run one API process; gives its URL too."""
    listener = listen("127.0.0.1", 0)
    reading, writing = os.pipe()
    lifeline, held = os.pipe()
    descriptors = (listener.fileno(), writing, lifeline)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway.serve.api", "gateway.main:create_app", *map(str, descriptors)),
        env=environment(settings),
        pass_fds=descriptors,
    )
    os.close(writing)
    try:
        assert await asyncio.wait_for(asyncio.to_thread(os.read, reading, 1), 60) == b"!"
        yield process, f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        listener.close()
        for descriptor in (reading, lifeline, held):
            os.close(descriptor)


async def test_clients_that_wait_are_answered_when_an_api_process_stops(settings: Settings, store: JobStore) -> None:
    async with api_process(settings) as (process, url), httpx.AsyncClient(base_url=url, timeout=60) as client:
        created = await client.post("/tap/async", data={"QUERY": "SELECT 1 AS one", "LANG": "ADQL"})
        path = httpx.URL(created.headers["location"]).path
        waiting = [asyncio.create_task(client.get(f"{path}?WAIT=50")) for _ in range(3)]
        events = asyncio.create_task(client.get(f"/api/v1/jobs/{path.rpartition('/')[2]}/events"))
        await asyncio.sleep(1)
        assert not any(task.done() for task in (*waiting, events))
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        for answer in await asyncio.gather(*waiting):
            assert answer.status_code == 200
            assert "PENDING" in answer.text
        assert (await events).status_code == 200
        # uvicorn raises the signal again when all is done
        assert await asyncio.wait_for(process.wait(), 10) == -signal.SIGTERM
        assert time.monotonic() - started < 5


async def test_workers_restarted_in_turn_lose_no_job_and_count_no_attempt(
    settings: Settings, service: JobService, store: JobStore
) -> None:
    async with AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(worker_process(settings)) for _ in range(2)]
        short = [await add(service, DO="sleep", TEXT="0.2") for _ in range(12)]
        long = await add(service, DO="sleep", TEXT="7")
        await until(lambda: has_begun(store, long.job_id), 60)
        for number in range(2):  # each new one is there before the old one goes, as orchestrators do it
            await stack.enter_async_context(worker_process(settings))
            workers[number].send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(workers[number].wait(), 20) == 0
        jobs = [await ended(store, job.job_id, 60) for job in (*short, long)]
    assert {job.phase for job in jobs} == {Phase.COMPLETED}
    parts = [part for job in jobs for part in await store.parts(job.job_id)]
    assert {part.attempts for part in parts} == {0}
    endings = {attempt.ending for part in parts for attempt in part.history}
    assert AttemptEnding.RELEASED in endings, "no worker was stopped while it ran a job"
    assert endings <= {AttemptEnding.RELEASED, AttemptEnding.COMPLETED}


async def has_begun(store: JobStore, job_id: str) -> bool:
    return (await store.get(job_id)).phase is Phase.EXECUTING
