"""Those who watch a job hear of each change, and leave their seats."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing

import asyncpg
import pytest

from gateway.errors import BackendUnavailableError, NotFoundError, OverloadedError, QuotaError
from gateway.jobs.models import Job
from gateway.jobs.phases import Phase
from gateway.jobs.service import JobService
from gateway.jobs.signals import PhaseSignals
from gateway.jobs.store import JobStore
from gateway.jobs.watching import Watchers
from tests.jobs.conftest import ALICE, add, claim_one
from tests.support.timed import timed


@pytest.fixture
async def watchers(signals: PhaseSignals, service: JobService) -> AsyncIterator[Watchers]:
    watchers = Watchers(signals, service._seen, most=3, most_per_caller=2, look_s=0.05, silence_s=0.3)
    yield watchers
    assert watchers._seats.total() == 0
    assert signals.waiting == 0


async def test_every_phase_is_told_and_the_end_is_the_end(
    watchers: Watchers, service: JobService, store: JobStore
) -> None:
    job = await add(service, run=False)
    heard: list[Job] = []

    async def listen() -> None:
        async with aclosing(watchers.follow(job.job_id, "a")) as jobs:
            heard.extend([job async for job in jobs if job is not None])

    task = asyncio.create_task(listen())
    await asyncio.sleep(0.1)
    await service.run("test", job.job_id, ALICE)
    claim = await claim_one(store)
    assert claim is not None
    await asyncio.sleep(0.1)
    assert await store.end(claim, Phase.COMPLETED)
    await asyncio.wait_for(task, 5)
    assert [job.phase for job in heard] == [Phase.PENDING, Phase.QUEUED, Phase.EXECUTING, Phase.COMPLETED]
    assert heard[1].queue_position == 1


async def test_progress_is_told_once(
    watchers: Watchers, service: JobService, store: JobStore, database: asyncpg.Connection
) -> None:
    job = await add(service)
    await claim_one(store)
    async with aclosing(watchers.follow(job.job_id, "a")) as jobs:
        assert (await anext(jobs)).phase is Phase.EXECUTING  # type: ignore[union-attr]
        await database.execute("UPDATE gateway.job_part SET progress = '{\"rows\": 7}'")
        assert (await anext(jobs)).progress == {"rows": 7}  # type: ignore[union-attr]
        assert await anext(jobs) is None  # no news: a sign of life


@timed
async def test_silence_is_broken(watchers: Watchers, service: JobService) -> None:
    job = await add(service, run=False)
    async with aclosing(watchers.follow(job.job_id, "a")) as jobs:
        await anext(jobs)
        for _ in range(2):
            started = time.monotonic()
            assert await anext(jobs) is None
            assert 0.25 < time.monotonic() - started < 0.6


async def test_a_deleted_job_ends_the_watch(watchers: Watchers, service: JobService) -> None:
    job = await add(service, run=False)
    async with aclosing(watchers.follow(job.job_id, "a")) as jobs:
        await anext(jobs)
        await service.delete("test", job.job_id, ALICE)
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(anext(jobs), 2)
    with pytest.raises(NotFoundError):
        await anext(watchers.follow(job.job_id, "a"))


async def test_seats_are_counted_and_given_back(watchers: Watchers, service: JobService) -> None:
    job = await add(service, run=False)
    async with (
        aclosing(watchers.follow(job.job_id, "a")) as first,
        aclosing(watchers.follow(job.job_id, "a")) as second,
        aclosing(watchers.follow(job.job_id, "b")) as third,
    ):
        await anext(first)
        await anext(second)
        with pytest.raises(QuotaError, match="event_streams_per_caller"):
            await anext(watchers.follow(job.job_id, "a"))
        await anext(third)
        with pytest.raises(OverloadedError, match="event_streams"):
            await anext(watchers.follow(job.job_id, "c"))
    async with aclosing(watchers.follow(job.job_id, "c")) as again:
        assert await anext(again) is not None


async def test_who_watches_stays_while_the_database_is_away(signals: PhaseSignals, service: JobService) -> None:
    job = await add(service, run=False)
    answers: list[Job | Exception] = [job, BackendUnavailableError("away"), BackendUnavailableError("away")]

    async def read(job_id: str) -> Job:
        answer = answers.pop(0) if answers else await service._seen(job_id)
        if isinstance(answer, Exception):
            raise answer
        return answer

    watchers = Watchers(signals, read, most=1, most_per_caller=1, look_s=0.02, silence_s=5)
    async with aclosing(watchers.follow(job.job_id, "a")) as jobs:
        await anext(jobs)
        await service.abort("test", job.job_id, ALICE)
        assert (await asyncio.wait_for(anext(jobs), 2)).phase is Phase.ABORTED  # type: ignore[union-attr]
