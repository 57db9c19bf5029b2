"""Queues with slots of their own: which a job waits in, and what becomes of one that takes too long (L4, L5)."""

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import asyncpg
import pytest

from gateway.jobs.models import AttemptEnding, ErrorType, Job, RunState
from gateway.jobs.options import WorkerOptions, Workshop
from gateway.jobs.phases import Phase
from gateway.jobs.queue import ArqQueue
from gateway.jobs.routing import LONG, QUEUES, QUICK, Routing
from gateway.jobs.service import JobService
from gateway.jobs.store import JobStore
from gateway.settings import Settings
from tests.jobs.conftest import ALICE, WORKSHOP, add, ended, queued, until, working

QUEUED = dataclasses.replace(WORKSHOP, queues=QUEUES)
HOUR = timedelta(hours=1)

MOVES = Routing(
    quick_limit=timedelta(seconds=60), quick_cost=1000, quick_overrun="move", execution_duration_default=HOUR
)
STOPS = dataclasses.replace(MOVES, quick_overrun="stop")


@pytest.mark.parametrize(
    ("routing", "duration_s", "cost", "queue"),
    [
        (MOVES, 60, 1e9, QUICK),  # it says itself that it is short
        (MOVES, 61, 1e9, LONG),
        (MOVES, 3600, 1000, QUICK),
        (MOVES, 3600, 1000.1, LONG),
        (MOVES, 7200, 10, QUICK),
        (MOVES, None, 10, QUICK),
        (MOVES, 3600, None, QUICK),  # a try costs a minute
        (STOPS, 60, 1e9, QUICK),
        (STOPS, 3600, 10, QUICK),
        (STOPS, 3600, 2000, LONG),
        (STOPS, 3600, None, LONG),  # a wrong guess would end it
        (STOPS, 7200, 10, LONG),  # its owner has asked for more
        (STOPS, None, 10, LONG),
    ],
)
def test_queue_follows_from_the_time_asked_for_and_from_the_estimate(
    routing: Routing, duration_s: float | None, cost: float | None, queue: str
) -> None:
    duration = None if duration_s is None else timedelta(seconds=duration_s)
    assert routing.queue(duration, cost) == queue


@pytest.mark.parametrize(
    ("changes", "slots"),
    [
        ({}, {"quick": 2, "long": 1, "cutout": 1}),
        ({"worker_slots": 5, "worker_long_slots": 3, "worker_cutout_slots": 2}, {"quick": 5, "long": 3, "cutout": 2}),
        ({"worker_long_slots": 0, "worker_cutout_slots": 0}, {"quick": 2}),
    ],
)
def test_each_queue_has_slots_by_setting(settings: Settings, changes: dict[str, int], slots: dict[str, int]) -> None:
    options = WorkerOptions.of(settings.model_copy(update=changes), Workshop().queues)
    assert options.slots == slots


@pytest.fixture
async def service(make_service: Callable[..., JobService], redis_url: str) -> AsyncIterator[JobService]:
    """The service with wake-ups that reach the worker."""
    queue = ArqQueue(redis_url)
    yield make_service(queue)
    await queue.aclose()


def quickly(settings: Settings, seconds: float = 0.5, **changes: object) -> Settings:
    return settings.model_copy(update={"quick_limit": timedelta(seconds=seconds), "worker_slots": 1} | changes)


async def runs_in(store: JobStore, job: Job, queue: str) -> bool:
    (part,) = await store.parts(job.job_id)
    return part.queue == queue and part.run_state is RunState.RUNNING


def runs(store: JobStore, job: Job, queue: str) -> Callable[[], Awaitable[bool]]:
    return lambda: runs_in(store, job, queue)


async def test_quick_query_that_takes_longer_goes_on_in_a_free_long_slot(
    settings: Settings, service: JobService, store: JobStore
) -> None:  # L5
    async with working(quickly(settings, 2), workshop=QUEUED) as worker:
        job = await add(service, QUEUE="quick", DO="sleep", TEXT="6")
        await until(runs(store, job, "quick"))
        await until(runs(store, job, "long"))
        assert (worker.free("quick"), worker.free("long")) == (1, 0)
        short = await ended(store, (await add(service, QUEUE="quick")).job_id)
        assert short.phase is Phase.COMPLETED
        assert await runs_in(store, job, "long")
        job = await ended(store, job.job_id)
        assert job.phase is Phase.COMPLETED
        (part,) = await store.parts(job.job_id)
        assert [attempt.ending for attempt in part.history] == [AttemptEnding.COMPLETED]  # it was not begun again
        await until(lambda: _is_idle(worker.free, "long"))


async def _is_idle(free: Callable[[str], int], queue: str) -> bool:
    return free(queue) == 1


async def test_quick_query_that_takes_longer_waits_for_a_long_slot_where_none_is_free(
    settings: Settings, service: JobService, store: JobStore
) -> None:  # L5
    async with working(quickly(settings), workshop=QUEUED):
        first = await add(service, QUEUE="long", DO="sleep", TEXT="1.5")
        await until(runs(store, first, "long"))
        job = await add(service, QUEUE="quick", DO="sleep", TEXT="0.9")
        job = await ended(store, job.job_id)
        assert job.phase is Phase.COMPLETED
        (part,) = await store.parts(job.job_id)
        assert [attempt.ending for attempt in part.history] == [AttemptEnding.MOVED, AttemptEnding.COMPLETED]
        assert (part.queue, part.attempts, part.losses) == ("long", 0, 0)


async def test_quick_query_that_takes_longer_is_stopped_where_the_setting_says_so(
    settings: Settings, service: JobService, store: JobStore, database: asyncpg.Connection
) -> None:  # L5
    async with working(quickly(settings, quick_overrun="stop"), workshop=QUEUED):
        job = await add(service, QUEUE="quick", DO="query", TEXT="60")
        job = await ended(store, job.job_id)
        assert job.phase is Phase.ABORTED
        assert job.error is not None
        assert "0.5 s (quick_limit)" in job.error.message
        assert job.error.type is ErrorType.TRANSIENT
        assert not await database.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE $1", f"gw:{job.job_id}:%"
        )


async def test_abort_reaches_a_promoted_part(settings: Settings, service: JobService, store: JobStore) -> None:  # F21
    async with working(quickly(settings), workshop=QUEUED) as worker:
        job = await add(service, QUEUE="quick", DO="sleep", TEXT="60")
        await until(runs(store, job, "long"))
        await service.abort("test", job.job_id, ALICE)
        await until(lambda: _is_idle(worker.free, "long"), 3)
    (part,) = await store.parts(job.job_id)
    assert [attempt.ending for attempt in part.history] == [AttemptEnding.CANCELLED]


async def test_queues_have_slots_of_their_own(settings: Settings, service: JobService, store: JobStore) -> None:  # L5
    async with working(quickly(settings, 60), workshop=QUEUED):
        long = [await add(service, QUEUE="long", DO="sleep", TEXT="30") for _ in range(3)]
        await until(runs(store, long[0], "long"))
        for queue in ("quick", "cutout"):
            job = await ended(store, (await add(service, QUEUE=queue)).job_id)
            assert job.phase is Phase.COMPLETED
        assert [(await store.get(job.job_id)).phase for job in long] == [Phase.EXECUTING, Phase.QUEUED, Phase.QUEUED]


async def test_owner_of_many_jobs_holds_up_nobody(store: JobStore) -> None:  # L4
    """One owner with 40 jobs, then five with three each, and a single slot: nobody waits for all of the 40."""
    for _ in range(40):
        await queued(store, "alice")
    for number in range(5):
        for _ in range(3):
            await queued(store, f"user{number}")
    order = []
    while claims := await store.claim("test", worker="w", per_owner=9, lease=HOUR):
        order.append(claims[0].owner)
        await store.end(claims[0], Phase.COMPLETED)
    assert len(order) == 55
    served = [position for position, owner in enumerate(order) if owner != "alice"]
    assert max(served) < 3 * 6  # three rounds of six owners
    assert sorted(order[:6]) == ["alice", *(f"user{number}" for number in range(5))]


# -- rows as the version before wrote them -------------------------------------------------------------------

OLDER_ENQUEUE = """
WITH moved AS (
    UPDATE gateway.job SET phase = 'QUEUED', open_parts = 1 WHERE id = $1 AND phase = 'PENDING' RETURNING id, owner)
INSERT INTO gateway.job_part (job_id, number, queue, owner) SELECT moved.id, 1, $2, moved.owner FROM moved
"""

OLDER_CLAIM = """
WITH part AS (
    UPDATE gateway.job_part SET run_state = 'running', token = token + 1, worker = 'older',
           lease_until = clock_timestamp() + interval '30 s', started = clock_timestamp(), progress = '{}'
    WHERE job_id = $1 RETURNING job_id)
UPDATE gateway.job SET phase = 'EXECUTING', started = clock_timestamp() FROM part WHERE job.id = part.job_id
"""

OLDER_END = """
WITH part AS (
    UPDATE gateway.job_part SET run_state = 'done', ended = clock_timestamp(), lease_until = NULL, worker = NULL,
           results = '[{"id": "result", "key": "k", "size": 3, "media_type": "text/plain", "rows": 1, "overflow": false}]',
           result_token = token
    WHERE job_id = $1 AND token = 1 AND run_state = 'running' RETURNING job_id)
UPDATE gateway.job SET phase = 'COMPLETED', ended = clock_timestamp(), open_parts = 0
FROM part WHERE job.id = part.job_id
"""


@pytest.mark.parametrize(("older", "newer"), [("tap", "long"), ("soda", "cutout")])
async def test_job_queued_by_an_older_api_process_runs_in_a_newer_worker(
    settings: Settings, service: JobService, store: JobStore, database: asyncpg.Connection, older: str, newer: str
) -> None:  # F19
    job = await add(service, run=False)
    await database.execute(OLDER_ENQUEUE, job.job_id, older)
    async with working(settings, workshop=QUEUED):
        assert (await ended(store, job.job_id)).phase is Phase.COMPLETED
        later = await add(service, run=False)  # older API processes go on beside newer workers
        await database.execute(OLDER_ENQUEUE, later.job_id, older)
        assert (await ended(store, later.job_id)).phase is Phase.COMPLETED
    (part,) = await store.parts(job.job_id)
    assert part.queue == newer


async def test_job_run_by_an_older_worker_is_read_by_a_newer_api_process(
    service: JobService, store: JobStore, database: asyncpg.Connection
) -> None:  # F19
    job_id = await queued(store)
    await database.execute(OLDER_CLAIM, job_id)
    (part,) = await store.parts(job_id)
    assert (part.run_state, part.worker) == (RunState.RUNNING, "older")
    await database.execute(OLDER_END, job_id)
    job = await store.get(job_id)
    assert (job.phase, [result.key for result in job.results]) == (Phase.COMPLETED, ["k"])
    (part,) = await store.parts(job_id)
    assert [(attempt.worker, attempt.ending) for attempt in part.history] == [("older", AttemptEnding.COMPLETED)]


async def test_silent_older_worker_loses_its_part_to_a_newer_one(
    settings: Settings, service: JobService, store: JobStore, database: asyncpg.Connection
) -> None:  # F19, F1
    job = await add(service, run=False)
    await database.execute(OLDER_ENQUEUE, job.job_id, "tap")
    await database.execute(OLDER_CLAIM, job.job_id)
    await database.execute("UPDATE gateway.job_part SET lease_until = clock_timestamp() - interval '1 s'")
    async with working(settings, workshop=QUEUED):
        assert (await ended(store, job.job_id)).phase is Phase.COMPLETED
    (part,) = await store.parts(job.job_id)
    assert [attempt.ending for attempt in part.history] == [AttemptEnding.LOST, AttemptEnding.COMPLETED]
