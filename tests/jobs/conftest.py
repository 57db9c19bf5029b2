"""Jobs on a real database: the store, the service, and workers in this process."""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from gateway.errors import QueryError
from gateway.jobs.models import Claim, Job, Plan
from gateway.jobs.options import WorkerOptions, Workshop
from gateway.jobs.phases import Phase
from gateway.jobs.queue import MemoryQueue, WakeUp
from gateway.jobs.service import JobLimits, JobList, JobService
from gateway.jobs.signals import PhaseSignals
from gateway.jobs.store import JobStore
from gateway.jobs.worker import Worker, open_worker
from gateway.services.access import Caller
from gateway.settings import Settings
from gateway.storage.results import LocalResultStore
from gateway.vo.dali import ParamBag

WORKSHOP = Workshop(
    factory="tests.jobs.task:open_services",
    tasks="tests.jobs.task:TASKS",
    queues=("test",),
    preload=("tests.jobs.task",),
)

ALICE = Caller("alice", account="alice")
BOB = Caller("bob", account="bob")
ANONYMOUS = Caller("192.0.2.1")

LEASE = timedelta(seconds=30)

LIMITS = JobLimits(
    execution_duration_default=timedelta(hours=1),
    execution_duration_hard=timedelta(hours=4),
    retention_default=timedelta(days=7),
    retention_hard=timedelta(days=14),
    queue_cap_per_owner=100,
    queue_cap_total=10_000,
    wait_cap=timedelta(seconds=20),
    results_reserve_bytes=0,
)


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[JobStore]:
    async with JobStore.open(database_url, connections=20) as store:
        yield store


@pytest.fixture
def results(tmp_path: Path) -> LocalResultStore:
    return LocalResultStore(tmp_path / "results")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection for looking, and for making trouble."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def signals(database_url: str) -> AsyncIterator[PhaseSignals]:
    async with PhaseSignals.open(database_url) as signals:
        await asyncio.wait_for(signals.is_listening.wait(), 5)
        yield signals


@pytest.fixture
def queue() -> MemoryQueue:
    return MemoryQueue()


async def validate(job: Job) -> Plan:
    """Refuse what names a table that is not there."""
    if "nosuch" in (job.bag.one("TEXT") or ""):
        raise QueryError("unknown table nosuch", line=1, column=15)
    return Plan(job.bag.one("QUEUE") or job.job_list, parts=int(job.bag.one("PARTS") or 1))


@pytest.fixture
def make_service(
    store: JobStore, results: LocalResultStore, signals: PhaseSignals, queue: MemoryQueue
) -> Callable[..., JobService]:
    def make(wake_up: WakeUp | None = None, **limits: Any) -> JobService:
        return JobService(
            store=store,
            results=results,
            wake_up=wake_up or queue,
            signals=signals,
            lists={
                "test": JobList(validate=validate, repeatable=frozenset({"UPLOAD"})),
                "other": JobList(validate=validate),
            },
            limits=dataclasses.replace(LIMITS, **limits),
        )

    return make


@pytest.fixture
def service(make_service: Callable[..., JobService]) -> JobService:
    return make_service()


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path) -> Settings:
    """Short leases: what takes half a minute in production takes two seconds here."""
    return Settings(
        home=tmp_path / "home",
        results=str(tmp_path / "results"),
        database_url=database_url,
        redis_url=redis_url,
        lease=timedelta(seconds=2),
        heartbeat=timedelta(seconds=0.4),
        poll_interval=timedelta(seconds=0.5),
        child_memory_bytes=300 << 20,
    )


@asynccontextmanager
async def working(settings: Settings, *, grace: float = 0.2, workshop: Workshop = WORKSHOP) -> AsyncIterator[Worker]:
    """Run a worker in this process."""
    stop = asyncio.Event()
    options = dataclasses.replace(
        WorkerOptions.of(settings, workshop.queues),
        finish_grace=timedelta(seconds=grace),
        patient_delays_s=(0.1, 0.1),
        short_delays_s=(0.05, 0.05),
    )
    async with open_worker(settings, workshop, options) as worker:
        task = asyncio.create_task(worker.run(stop))
        try:
            yield worker
        finally:
            stop.set()
            await asyncio.wait_for(task, 15)


async def add(service: JobService, caller: Caller = ALICE, *, run: bool = True, **parameters: str) -> Job:
    """Create a job of the tests' list, and run it."""
    bag = ParamBag.of({"DO": "echo", **parameters}.items())
    job = await service.create("test", bag, caller)
    return await service.run("test", job.job_id, caller) if run else job


async def queued(store: JobStore, owner: str = "alice", *, parts: int = 1) -> str:
    """Put a job into the queue, by the store alone."""
    job_id = f"{owner:_<8}{time.monotonic_ns():020}"
    await store.create(
        job_id,
        job_list="test",
        owner=owner,
        account=None,
        base_url="http://gateway.test",
        run_id=None,
        retention=timedelta(days=1),
        execution_duration=timedelta(hours=1),
        parameters=[("DO", "echo")],
        uploads=[],
    )
    assert await store.enqueue(job_id, "test", parts=parts)
    return job_id


async def claim_one(store: JobStore, *, per_owner: int = 10, lease: timedelta = LEASE) -> Claim | None:
    claims = await store.claim("test", worker="w", per_owner=per_owner, lease=lease)
    return claims[0] if claims else None


async def phase_of(store: JobStore, job_id: str) -> Phase:
    return (await store.get(job_id)).phase


async def ended(store: JobStore, job_id: str, seconds: float = 15) -> Job:
    """Wait for the end of a job."""
    return await until(lambda: _final(store, job_id), seconds)


async def _final(store: JobStore, job_id: str) -> Job | None:
    job = await store.get(job_id)
    return job if job.phase in {Phase.COMPLETED, Phase.ERROR, Phase.ABORTED} else None


async def until(look: Callable[[], Awaitable[Any]], seconds: float = 10) -> Any:
    """Look again and again until there is something to see."""
    deadline = time.monotonic() + seconds
    while not (seen := await look()):
        assert time.monotonic() < deadline, "nothing happened"
        await asyncio.sleep(0.02)
    return seen
