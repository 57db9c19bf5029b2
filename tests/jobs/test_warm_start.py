"""A worker that has just started: it leaves work to others until it can do some."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from gateway.jobs.models import RunState
from gateway.jobs.service import JobService
from gateway.jobs.store import JobStore
from gateway.jobs.worker import open_worker
from gateway.settings import Settings
from tests.jobs.conftest import WORKSHOP, add, ended
from tests.jobs.task import Bench, open_services

LATE_S = 1.5


@asynccontextmanager
async def open_late(settings: Mapping[str, Any]) -> AsyncIterator[Bench]:
    """Open the services of a child that takes its time, as on a busy machine."""
    await asyncio.sleep(LATE_S)
    async with open_services(settings) as bench:
        yield bench


async def test_worker_claims_nothing_before_a_child_is_ready(
    settings: Settings, service: JobService, store: JobStore
) -> None:  # of two restarts at once the second met the same job: it had been claimed by a worker that could not run it
    job = await add(service)
    stop = asyncio.Event()
    workshop = dataclasses.replace(WORKSHOP, factory="tests.jobs.test_warm_start:open_late")
    async with open_worker(settings, workshop) as worker:
        running = asyncio.create_task(worker.run(stop))
        try:
            await asyncio.sleep(LATE_S - 0.3)
            (part,) = await store.parts(job.job_id)
            assert part.run_state is RunState.WAITING
            await ended(store, job.job_id)
        finally:
            stop.set()
            await asyncio.wait_for(running, 15)


async def test_worker_that_is_stopped_before_it_could_work_ends_at_once(settings: Settings) -> None:
    workshop = dataclasses.replace(WORKSHOP, factory="tests.jobs.test_warm_start:open_late")
    async with open_worker(settings, workshop) as worker:
        stop = asyncio.Event()
        stop.set()
        async with asyncio.timeout(1):
            await worker.run(stop)
