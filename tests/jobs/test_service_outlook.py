"""What a job says of its future: its place in the queue and its quote (UWS-34), judged by what then happens."""

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from gateway.jobs.models import Job
from gateway.jobs.outlook import quote
from gateway.jobs.phases import Phase
from gateway.jobs.service import JobService
from gateway.jobs.store import JobStore
from gateway.jobs.store.outlook import Place, RunTimes
from gateway.services.access import Caller
from tests.jobs.conftest import ALICE, LEASE, add, claim_one, queued

NOW = datetime(2030, 1, 1, tzinfo=UTC)
TIMES = RunTimes(mean_s=20.0, median_s=10.0)


def place(ahead: int = 0, running: int = 0) -> Place:
    return Place("test", NOW, ahead, running)


JOB = Job(
    job_id="j",
    job_list="test",
    owner="alice",
    account=None,
    run_id=None,
    phase=Phase.QUEUED,
    creation_time=NOW - timedelta(seconds=1),
    destruction=NOW + timedelta(days=1),
    execution_duration=timedelta(hours=1),
)


def running_since(seconds: float, **progress: int) -> Job:
    return replace(JOB, phase=Phase.EXECUTING, start_time=NOW - timedelta(seconds=seconds), progress=progress)


@pytest.mark.parametrize(
    ("job", "where", "seconds"),
    [
        (JOB, place(), 10),  # nothing before it, nothing runs: as long as usual
        (JOB, place(ahead=3), 3 * 20 + 10),  # one slot, as far as can be seen
        (JOB, place(ahead=3, running=2), 4 / 2 * 20 + 10),  # two slots, both busy
        (replace(JOB, progress={"parts": 5}), place(running=1), 5 * 20 + 10),
        (running_since(4), place(running=1), 6),
        (running_since(10), place(running=1), 10),  # longer than usual: for as long again
        (running_since(40), place(running=1), 40),
        (running_since(3000), place(running=1), 600),  # nothing runs past its time limit
        (running_since(4000), place(running=1), 0),
        (running_since(30, parts=4, parts_done=3), place(running=1), 10),
        (running_since(5, parts=4, parts_done=0), place(running=1), 5),
    ],
)
def test_quote(job: Job, where: Place, seconds: float) -> None:
    assert quote(job, where, TIMES) == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize("job", [JOB, running_since(4)])
def test_nothing_is_promised_where_nothing_ran_yet(job: Job) -> None:
    assert quote(job, place(ahead=2, running=1), None) is None


def test_a_share_that_is_done_tells_without_others() -> None:
    assert quote(running_since(30, parts=4, parts_done=3), place(), None) == NOW + timedelta(seconds=10)


async def test_place_in_the_queue_is_the_order_of_claims(store: JobStore) -> None:
    """Many owners, some with running parts already: every prediction is compared with the claims that follow."""
    shuffled = random.Random(20261122)
    owners = ["ada", "bob", "eve", "kim"]
    for owner in shuffled.choices(owners, weights=(5, 2, 2, 1), k=12):
        await queued(store, owner)
        if shuffled.random() < 0.6:
            assert await claim_one(store, per_owner=3)
    waiting = {await queued(store, owner) for owner in shuffled.choices(owners, weights=(6, 2, 1, 1), k=20)}
    expected = {}
    for job_id in waiting:
        found = await store.place(job_id)
        assert found is not None
        expected[job_id] = found.ahead
    order: list[str] = []
    while claim := await claim_one(store, per_owner=100):
        order.append(claim.job_id)
    assert {job_id: order.index(job_id) for job_id in waiting} == expected
    assert len(set(expected.values())) == 20


async def test_a_job_that_waits_tells_its_place_and_one_that_runs_does_not(
    service: JobService, store: JobStore
) -> None:
    jobs = [await add(service) for _ in range(3)] + [await add(service, Caller("bob", account="bob"))]
    seen = [(await service._seen(job.job_id)).queue_position for job in jobs]
    assert seen == [1, 3, 4, 2]  # owners take turns
    claim = await claim_one(store)
    assert claim is not None
    job = await service.look("test", claim.job_id, ALICE)
    assert (job.phase, job.queue_position, job.attempts) == (Phase.EXECUTING, None, 1)


async def test_quote_comes_from_those_that_ended_well(
    make_service: Callable[..., JobService], store: JobStore, database: asyncpg.Connection
) -> None:
    for seconds, to in ((8, Phase.COMPLETED), (10, Phase.COMPLETED), (12, Phase.COMPLETED), (900, Phase.ABORTED)):
        await queued(store)
        claim = await claim_one(store)
        assert claim is not None
        assert await store.end(claim, to)
        await database.execute(
            "UPDATE gateway.job_part SET started = ended - make_interval(secs => $2) WHERE job_id = $1",
            claim.job_id,
            float(seconds),
        )
    assert await store.run_times("test") == RunTimes(10.0, 10.0)
    assert await store.run_times("other") is None
    job = await add(service := make_service())
    job = await service.look("test", job.job_id, ALICE)
    assert job.quote is not None
    assert 8 < (job.quote - job.creation_time).total_seconds() < 12


async def test_attempts_are_counted(service: JobService, store: JobStore, database: asyncpg.Connection) -> None:
    job = await add(service)
    assert (await store.get(job.job_id)).attempts == 0
    for attempt in (1, 2):
        assert await claim_one(store)
        assert (await store.get(job.job_id)).attempts == attempt
        await database.execute("UPDATE gateway.job_part SET lease_until = now() - interval '1 hour'")
        assert len(await store.reap(lease=timedelta(0))) == 1
    claim = await claim_one(store, lease=LEASE)
    assert claim is not None
    await store.end(claim, Phase.COMPLETED)
    assert (await store.get(job.job_id)).attempts == 3
