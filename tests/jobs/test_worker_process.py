"""Worker processes that are killed, frozen and stopped (reliability F1, F3, F18)."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from gateway.jobs.models import Job, RunState
from gateway.jobs.phases import Phase
from gateway.jobs.service import JobService
from gateway.jobs.store import JobStore
from gateway.serve.environment import environment
from gateway.settings import Settings
from tests.jobs.conftest import add, ended, until
from tests.support.files import files_below


@asynccontextmanager
async def worker_process(settings: Settings) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.jobs.run_worker", env=environment(settings)
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def runs_under(store: JobStore, job: Job, token: int) -> bool:
    (part,) = await store.parts(job.job_id)
    return part.run_state is RunState.RUNNING and part.token == token


async def sessions(database: asyncpg.Connection, job: Job, token: int) -> bool:
    return bool(
        await database.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1", f"gw:{job.job_id}:1.{token}"
        )
    )


async def has_no_session(database: asyncpg.Connection, job: Job, token: int) -> bool:
    return not await sessions(database, job, token)


async def test_killed_worker_loses_no_job(
    settings: Settings, service: JobService, store: JobStore, database: asyncpg.Connection
) -> None:  # F1
    async with worker_process(settings) as first:
        job = await add(service, DO="query", TEXT="3")
        await until(lambda: sessions(database, job, 1), 20)
        first.send_signal(signal.SIGKILL)
        await first.wait()
        killed = time.monotonic()
        async with worker_process(settings):
            job = await ended(store, job.job_id, 30)
            assert time.monotonic() - killed < settings.lease.total_seconds() + 15 + 3
            assert await has_no_session(database, job, 1)
    assert job.phase is Phase.COMPLETED
    assert job.results[0].key == f"{job.job_id}/1.3/result.txt"  # losing voids a token, as claiming does
    (part,) = await store.parts(job.job_id)
    assert (part.result_token, part.attempts, part.losses) == (3, 0, 1)


async def test_frozen_worker_is_overtaken_and_its_late_commit_refused(
    settings: Settings, service: JobService, store: JobStore
) -> None:  # F3
    async with worker_process(settings) as frozen:
        job = await add(service, DO="sleep", TEXT="1")
        await until(lambda: runs_under(store, job, 1), 20)
        frozen.send_signal(signal.SIGSTOP)
        async with worker_process(settings):
            job = await ended(store, job.job_id, 30)
            assert job.results[0].key == f"{job.job_id}/1.3/result.txt"
            frozen.send_signal(signal.SIGCONT)

            async def only_the_winner_is_left() -> bool:
                return files_below(settings.results_path) == [job.results[0].key]

            await asyncio.sleep(1.5)  # the frozen worker's child ends its sleep and writes
            await until(only_the_winner_is_left)
        assert await store.get(job.job_id) == job


async def test_sigterm_gives_jobs_back_and_exits_cleanly(
    settings: Settings, service: JobService, store: JobStore
) -> None:  # F18
    async with worker_process(settings) as process:
        job = await add(service, DO="sleep", TEXT="60")
        await until(lambda: runs_under(store, job, 1), 20)
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
        assert time.monotonic() - started < 6
    (part,) = await store.parts(job.job_id)
    assert (part.run_state, part.attempts, part.losses) == (RunState.WAITING, 0, 1)
