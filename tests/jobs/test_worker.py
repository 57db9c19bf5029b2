"""A worker in this process: what it runs, what it kills, what it gives back (UWS-17, reliability F1..F23)."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from gateway.errors import NotFoundError
from gateway.jobs.models import ErrorType, Job, RunState
from gateway.jobs.queue import ArqQueue
from gateway.jobs.runner import Interruption
from gateway.jobs.service import JobService
from gateway.jobs.store import JobStore
from gateway.jobs.worker import Worker
from gateway.settings import Settings
from gateway.storage.results import LocalResultStore
from gateway.vo.dali import ParamBag, UploadedPart
from tests.jobs.conftest import ALICE, BOB, Phase, add, ended, until, working
from tests.support.files import files_below
from tests.support.timed import timed


@pytest.fixture
async def worker(settings: Settings) -> AsyncIterator[Worker]:
    async with working(settings) as worker:
        yield worker


@pytest.fixture
async def service(make_service: Callable[..., JobService], redis_url: str) -> AsyncIterator[JobService]:
    """The service with wake-ups that reach the worker."""
    queue = ArqQueue(redis_url)
    yield make_service(queue)
    await queue.aclose()


async def content(service: JobService, job: Job) -> str:
    (result,) = job.results
    return await stored(service, result.key)


async def stored(service: JobService, key: str) -> str:
    async with aclosing((await service.open_stored(key)).chunks()) as chunks:
        return b"".join([chunk async for chunk in chunks]).decode()


async def backends(database: asyncpg.Connection, job: Job) -> int:
    count: int = await database.fetchval(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE $1", f"gw:{job.job_id}:%"
    )
    return count


def files(settings: Settings) -> list[str]:
    return files_below(settings.results_path)


async def is_running(database: asyncpg.Connection, job: Job) -> bool:
    return await backends(database, job) == 1


async def gone(database: asyncpg.Connection, job: Job) -> bool:
    return await backends(database, job) == 0


async def is_settled(store: JobStore, job: Job) -> bool:
    (part,) = await store.parts(job.job_id)
    return part.run_state is RunState.DONE


async def test_job_runs_and_its_result_is_there(worker: Worker, service: JobService, store: JobStore) -> None:
    job = await add(service, TEXT="héllo")
    job = await ended(store, job.job_id)
    assert job.phase is Phase.COMPLETED
    assert await content(service, job) == "1:héllo"
    (result,) = job.results
    assert (result.key, result.rows, result.media_type) == (f"{job.job_id}/1.1/result.txt", 1, "text/plain")


async def test_parts_of_a_job_leave_a_result_each(worker: Worker, service: JobService, store: JobStore) -> None:
    job = await add(service, DO="echo part", PARTS="5")
    job = await ended(store, job.job_id)
    assert job.phase is Phase.COMPLETED
    assert [result.key for result in job.results] == [f"{job.job_id}/{n}.1/result.txt" for n in range(1, 6)]
    assert [await stored(service, result.key) for result in job.results] == [f"1:part {n}" for n in range(1, 6)]


async def test_one_part_that_fails_ends_its_job_and_the_other_parts(
    worker: Worker, service: JobService, store: JobStore
) -> None:
    job = await add(service, DO="fail", TEXT="no such table", PARTS="4")
    job = await ended(store, job.job_id)
    assert job.phase is Phase.ERROR

    async def all_are_done() -> bool:
        return all(part.run_state is RunState.DONE for part in await store.parts(job.job_id))

    await until(all_are_done, 10)
    assert (await store.get(job.job_id)).results == ()


async def test_uploads_reach_the_task(worker: Worker, service: JobService, store: JobStore, tmp_path: Path) -> None:
    file = tmp_path / "upload"
    file.write_text("rows")
    bag = ParamBag((("DO", "read upload"),), (UploadedPart("t", file, 4),))
    job = await service.create("test", bag, ALICE)
    await service.run("test", job.job_id, ALICE)
    assert await content(service, await ended(store, job.job_id)) == "1:rows"


async def test_wrong_request_fails_at_once_with_its_words(worker: Worker, service: JobService, store: JobStore) -> None:
    job = await ended(store, (await add(service, DO="fail", TEXT="query")).job_id)
    assert job.phase is Phase.ERROR
    assert job.error is not None
    assert (job.error.message, job.error.type) == ("line 3, column 14: no such column", ErrorType.FATAL)
    (part,) = await store.parts(job.job_id)
    assert (part.token, part.attempts) == (1, 0)


async def test_our_own_fault_tells_no_detail(worker: Worker, service: JobService, store: JobStore) -> None:
    job = await ended(store, (await add(service, DO="fail", TEXT="secret")).job_id)
    assert job.error is not None
    assert "secret" not in job.error.message


async def test_transient_error_is_tried_again(
    worker: Worker, service: JobService, store: JobStore, tmp_path: Path
) -> None:  # F8
    job = await ended(store, (await add(service, DO="database away", TEXT=str(tmp_path / "seen"))).job_id)
    assert job.phase is Phase.COMPLETED
    (part,) = await store.parts(job.job_id)
    assert (part.token, part.attempts, part.losses) == (1, 0, 0)


async def test_transient_error_that_stays_is_told_as_such(worker: Worker, service: JobService, store: JobStore) -> None:
    job = await ended(store, (await add(service, DO="fail", TEXT="overloaded")).job_id)
    assert job.error is not None
    assert (job.phase, job.error.type) == (Phase.ERROR, ErrorType.TRANSIENT)


async def test_poison_fails_after_three_attempts_and_harms_no_neighbour(
    worker: Worker, service: JobService, store: JobStore
) -> None:  # F20
    poison = [await add(service, DO="crash"), await add(service, BOB, DO="allocate", TEXT="500")]
    good = [await add(service, BOB, TEXT=str(number)) for number in range(6)]
    for job in good:
        assert (await ended(store, job.job_id)).phase is Phase.COMPLETED
    for job, word in zip(poison, ("signal 11", "memory"), strict=True):
        job = await ended(store, job.job_id, 30)
        assert job.phase is Phase.ERROR
        assert job.error is not None
        assert word in job.error.message
        (part,) = await store.parts(job.job_id)
        assert (part.attempts, part.losses) == (3, 0)


async def test_child_that_died_once_is_forgiven(worker: Worker, service: JobService, store: JobStore) -> None:
    job = await ended(store, (await add(service, DO="crash once")).job_id)
    assert job.phase is Phase.COMPLETED
    assert await content(service, job) == "3:"  # dying voids a token, as claiming does


@timed
async def test_abort_ends_child_statement_and_files(
    worker: Worker, service: JobService, store: JobStore, database: asyncpg.Connection, settings: Settings
) -> None:  # F21, I6
    job = await add(service, DO="query", TEXT="60")
    await until(lambda: is_running(database, job))
    started = time.monotonic()
    await service.abort("test", job.job_id, ALICE)
    await until(lambda: gone(database, job), 2)
    assert time.monotonic() - started < 2
    await until(lambda: is_settled(store, job))
    assert (await store.get(job.job_id)).phase is Phase.ABORTED
    assert files(settings) == []
    next_job = await ended(store, (await add(service)).job_id)
    assert next_job.phase is Phase.COMPLETED


async def test_deleting_a_running_job_leaves_nothing(
    worker: Worker, service: JobService, store: JobStore, settings: Settings
) -> None:  # F22, UWS-12
    job = await add(service, DO="write and sleep", TEXT="60")

    async def has_written() -> bool:
        return len(files(settings)) == 1

    await until(has_written)
    await service.delete("test", job.job_id, ALICE)
    with pytest.raises(NotFoundError):
        await store.get(job.job_id)
    await until(lambda: is_settled(store, job))
    assert files(settings) == []


@timed
async def test_execution_duration_aborts(
    worker: Worker, service: JobService, store: JobStore, database: asyncpg.Connection
) -> None:  # UWS-17, F23
    job = await add(service, run=False, DO="query", TEXT="60")
    await service.set_execution_duration("test", job.job_id, ALICE, "1")
    await service.run("test", job.job_id, ALICE)
    started = time.monotonic()
    job = await ended(store, job.job_id)
    assert time.monotonic() - started < 4
    assert job.phase is Phase.ABORTED
    assert job.error is not None
    assert "1 s" in job.error.message
    await until(lambda: gone(database, job), 2)


@timed
async def test_stopping_worker_releases_at_once_and_another_finishes(
    settings: Settings, service: JobService, store: JobStore
) -> None:  # F18
    async with working(settings, grace=0.1):
        job = await add(service, DO="sleep", TEXT="1.5")
        await until(lambda: _is_executing(store, job))
        started = time.monotonic()
    assert time.monotonic() - started < 3
    (part,) = await store.parts(job.job_id)
    assert (part.run_state, part.token, part.attempts, part.losses) == (RunState.WAITING, 2, 0, 1)
    assert (await store.get(job.job_id)).phase is Phase.EXECUTING  # R6
    async with working(settings):
        job = await ended(store, job.job_id)
    assert await content(service, job) == "3:1.5"


async def test_stopping_worker_lets_short_parts_end(settings: Settings, service: JobService, store: JobStore) -> None:
    async with working(settings, grace=5):
        job = await add(service, DO="sleep", TEXT="0.5")
        await until(lambda: _is_executing(store, job))
    assert (await store.get(job.job_id)).phase is Phase.COMPLETED


async def _is_held(worker: Worker) -> bool:
    return bool(worker._running)


async def _is_executing(store: JobStore, job: Job) -> bool:
    return (await store.get(job.job_id)).phase is Phase.EXECUTING


async def test_worker_without_redis_polls(
    settings: Settings, make_service: Callable[..., JobService], store: JobStore, tmp_path: Path
) -> None:  # F12
    url = f"unix://{tmp_path}/none.sock"
    queue = ArqQueue(url)
    async with working(settings.model_copy(update={"redis_url": _secret(url)})):
        jobs = [await add(make_service(queue)) for _ in range(4)]
        for job in jobs:
            assert (await ended(store, job.job_id)).phase is Phase.COMPLETED


def _secret(url: str) -> object:
    from pydantic import SecretStr

    return SecretStr(url)


async def test_duplicate_wake_ups_run_a_job_once(
    worker: Worker, service: JobService, store: JobStore, redis_url: str
) -> None:  # F17
    queue = ArqQueue(redis_url)
    jobs = [await add(service) for _ in range(5)]
    for _ in range(25):
        await queue.wake("test")
    for job in jobs:
        assert await content(service, await ended(store, job.job_id)) == "1:"
    await queue.aclose()


async def test_lease_lost_while_running_kills_the_child_and_commits_nothing(
    worker: Worker, service: JobService, store: JobStore, database: asyncpg.Connection
) -> None:  # F3, R5
    job = await add(service, DO="sleep", TEXT="2")
    await until(lambda: _is_executing(store, job))
    # As a reaper does that believes the worker dead.
    await database.execute(
        "UPDATE gateway.job_part SET token = token + 1, run_state = 'waiting', lease_until = NULL, worker = NULL"
    )
    job = await ended(store, job.job_id)
    assert await content(service, job) == "3:2"


async def test_part_lost_and_claimed_again_by_the_same_worker_runs_once(
    worker: Worker, service: JobService, store: JobStore, database: asyncpg.Connection
) -> None:  # R5
    job = await add(service, DO="sleep", TEXT="3")
    await until(lambda: _is_held(worker))
    (first,) = worker._running.values()
    heart = worker._heart
    tell, heart._on_lost = heart._on_lost, lambda claim: None  # the news of the loss comes late
    await database.execute(
        "UPDATE gateway.job_part SET token = token + 1, run_state = 'waiting', lease_until = NULL, worker = NULL"
    )

    async def is_held_twice() -> bool:
        return len(worker._running) == 2

    await until(is_held_twice)
    heart._on_lost = tell
    await asyncio.wait_for(asyncio.wait({first.work}), 2)
    assert first.interruption is Interruption.LOST
    assert await content(service, await ended(store, job.job_id)) == "3:3"

    async def is_idle() -> bool:
        return not worker._running and worker.free("test") == worker._options.slots["test"]

    await until(is_idle)


@timed
async def test_heartbeat_outlives_a_busy_loop_and_long_parts_keep_their_lease(
    worker: Worker, service: JobService, store: JobStore
) -> None:  # R3
    job = await add(service, DO="sleep", TEXT="2.7")
    await until(lambda: _is_held(worker))
    time.sleep(2.3)  # the loop of worker and test hangs for longer than a lease
    job = await ended(store, job.job_id)
    assert await content(service, job) == "1:2.7"


async def test_worker_survives_the_loss_of_its_database_connections(
    worker: Worker, service: JobService, store: JobStore, database: asyncpg.Connection
) -> None:  # F8
    jobs = [await add(service, DO="sleep", TEXT="0.6") for _ in range(4)]
    for _ in range(3):
        await database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'gw:%'"
        )
        await asyncio.sleep(0.3)
    for job in jobs:
        assert (await ended(store, job.job_id)).phase is Phase.COMPLETED


async def test_expired_job_goes_with_its_result(
    worker: Worker, service: JobService, store: JobStore, settings: Settings
) -> None:  # UWS-18
    job = await ended(store, (await add(service)).job_id)
    await service.set_destruction("test", job.job_id, ALICE, "2020-01-01T00:00:00Z")

    async def is_destroyed() -> bool:
        try:
            await store.get(job.job_id)
        except NotFoundError:
            return files(settings) == []
        return False

    await until(is_destroyed)


async def test_orphans_are_swept_and_results_are_not(
    settings: Settings, service: JobService, store: JobStore, results: LocalResultStore
) -> None:  # I7
    async def pieces() -> AsyncIterator[bytes]:
        yield b"x"

    await results.write("an-orphan-of-long-ago_1/1.1/result", pieces())
    young = settings.model_copy(update={"sweep_age": timedelta(seconds=0.4)})
    async with working(young):
        job = await ended(store, (await add(service)).job_id)

        async def is_swept() -> bool:
            return files(settings) == [f"{job.job_id}/1.1/result.txt"]

        await until(is_swept)
        await asyncio.sleep(1)
        assert await is_swept()


async def test_worker_takes_no_more_than_its_slots(worker: Worker, service: JobService, store: JobStore) -> None:
    for caller in (ALICE, BOB, ALICE, BOB, ALICE):
        await add(service, caller, DO="sleep", TEXT="0.5")
    seen = set()
    while backlogs := await store.backlogs():
        seen |= {backlog.running for backlog in backlogs}
        await asyncio.sleep(0.05)
    assert max(seen) == worker._options.slots["test"] == 2


async def test_trivial_jobs_flow(worker: Worker, service: JobService, store: JobStore) -> None:
    jobs = await asyncio.gather(*(add(service, TEXT=str(number)) for number in range(40)))
    for job in jobs:
        assert (await ended(store, job.job_id)).phase is Phase.COMPLETED


@pytest.mark.parametrize(
    ("limits", "callers", "at_once"),
    [
        ({"worker_slots": 1}, (ALICE, BOB), 1),
        ({"worker_slots": 3, "jobs_per_owner": 1}, (ALICE, ALICE), 1),
        ({"worker_slots": 3, "jobs_per_owner": 1}, (ALICE, BOB), 2),
        ({"worker_slots": 3, "jobs_per_owner": 2}, (ALICE, ALICE), 2),
    ],
)
async def test_worker_slots_and_jobs_per_owner(
    settings: Settings, service: JobService, store: JobStore, limits: dict[str, int], callers: tuple, at_once: int
) -> None:
    seen = 0
    async with working(settings.model_copy(update=limits)):
        jobs = [await add(service, caller, DO="sleep", TEXT="1.5") for caller in callers]
        while True:
            phases = [(await store.get(job.job_id)).phase for job in jobs]
            seen = max(seen, phases.count(Phase.EXECUTING))
            if phases == [Phase.COMPLETED] * 2:
                break
            assert Phase.ERROR not in phases
            await asyncio.sleep(0.05)
    assert seen == at_once
