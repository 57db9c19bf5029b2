"""What is kept of each attempt at a part, and parts that change their queue."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg

from gateway.errors import BackendUnavailableError
from gateway.jobs.models import AttemptEnding, Claim, ErrorSummary, ErrorType
from gateway.jobs.phases import Phase
from gateway.jobs.store import GivenBack, JobStore
from gateway.jobs.store.statements import CLAIM
from tests.jobs.conftest import LEASE, claim_one, queued

ERROR = ErrorSummary("it broke", ErrorType.FATAL)


async def claimed(store: JobStore, queue: str = "test", worker: str = "w") -> Claim:
    (claim,) = await store.claim(queue, worker=worker, per_owner=10, lease=LEASE)
    return claim


async def endings(store: JobStore, job_id: str) -> list[tuple[AttemptEnding | None, str | None]]:
    (part,) = await store.parts(job_id)
    return [(attempt.ending, attempt.reason) for attempt in part.history]


async def test_history_tells_who_ran_a_part_and_how_each_attempt_ended(
    store: JobStore, database: asyncpg.Connection
) -> None:
    job_id = await queued(store)
    before = datetime.now(UTC) - timedelta(seconds=1)
    await store.give_back(await claimed(store, worker="first"), error=ERROR, deaths=1, reason="signal 11")
    await store.give_back(await claimed(store, worker="second"), error=ERROR, losses=1)
    await claimed(store, worker="third")
    await database.execute("UPDATE gateway.job_part SET lease_until = clock_timestamp() - interval '1 s'")
    assert await store.reap(lease=timedelta(0))
    last = await claimed(store, worker="fourth")
    (part,) = await store.parts(job_id)
    assert part.history[-1].ended is None
    assert part.history[-1].worker == "fourth"
    await store.end(last, Phase.COMPLETED)
    (part,) = await store.parts(job_id)
    assert [(a.worker, a.token, a.ending) for a in part.history] == [
        ("first", 1, AttemptEnding.DIED),
        ("second", 3, AttemptEnding.RELEASED),
        ("third", 5, AttemptEnding.LOST),
        ("fourth", 7, AttemptEnding.COMPLETED),
    ]
    assert [a.reason for a in part.history] == ["signal 11", None, None, None]
    times = [time for a in part.history for time in (a.started, a.ended) if time is not None]
    assert len(times) == 8
    assert times == sorted(times)
    assert before < times[0] <= times[-1] < datetime.now(UTC) + timedelta(seconds=1)


async def test_failed_and_cancelled_attempts_are_told_apart(store: JobStore) -> None:
    failed, cancelled = await queued(store), await queued(store, "bob")
    assert await store.end(await claimed(store), Phase.ERROR, error=ERROR)
    claim = await claimed(store)
    assert await store.abort(cancelled)
    assert await store.give_back(claim, error=ERROR) is GivenBack.ENDED
    assert await endings(store, failed) == [(AttemptEnding.FAILED, "it broke")]
    assert await endings(store, cancelled) == [(AttemptEnding.CANCELLED, None)]


async def test_a_job_aborted_before_it_ran_has_no_attempts(store: JobStore) -> None:
    job_id = await queued(store)
    await store.abort(job_id)
    assert await endings(store, job_id) == []


# -- from one queue to another ------------------------------------------------------------------------------


async def turns(database: asyncpg.Connection) -> dict[str, tuple[int, bool]]:
    rows = await database.fetch("SELECT queue, running, oldest IS NOT NULL FROM gateway.job_turn")
    return {queue: (running, waits) for queue, running, waits in rows}


async def test_part_moved_to_another_queue_waits_there_and_counts_no_attempt(
    store: JobStore, database: asyncpg.Connection
) -> None:  # L5
    job_id = await queued(store)
    claim = await claimed(store)
    assert await store.give_back(claim, error=ERROR, queue="long") is GivenBack.WAITING
    assert await turns(database) == {"test": (0, False), "long": (0, True)}
    assert await claim_one(store) is None
    again = await claimed(store, "long")
    assert again.job_id == job_id
    assert await turns(database) == {"test": (0, False), "long": (1, False)}
    assert not await store.end(claim, Phase.COMPLETED)
    assert await store.end(again, Phase.COMPLETED)
    (part,) = await store.parts(job_id)
    assert (part.queue, part.attempts, part.losses) == ("long", 0, 0)
    assert await endings(store, job_id) == [(AttemptEnding.MOVED, None), (AttemptEnding.COMPLETED, None)]


async def test_running_part_goes_on_in_another_queue_while_its_owner_may_run_more_there(
    store: JobStore, database: asyncpg.Connection
) -> None:  # L5
    first, second = await queued(store), await queued(store)
    claims = [await claimed(store), await claimed(store)]
    assert await store.promote(claims[0], "long", per_owner=1)
    assert not await store.promote(claims[1], "long", per_owner=1)
    assert await turns(database) == {"test": (1, False), "long": (1, False)}
    for claim in claims:
        assert await store.end(claim, Phase.COMPLETED)
    assert await turns(database) == {"test": (0, False), "long": (0, False)}
    assert await endings(store, first) == await endings(store, second) == [(AttemptEnding.COMPLETED, None)]


async def test_lost_claim_is_not_promoted(store: JobStore) -> None:
    await queued(store)
    claim = await claimed(store)
    await store.give_back(claim, error=ERROR)
    assert not await store.promote(claim, "long", per_owner=9)


async def test_moves_in_both_directions_at_once_wait_for_nobody(store: JobStore, database: asyncpg.Connection) -> None:
    for _ in range(20):
        await queued(store)
    there = await store.claim("test", worker="w", per_owner=99, lease=LEASE, at_most=20)
    for number, claim in enumerate(there):
        if number % 2:
            assert await store.promote(claim, "long", per_owner=99)
    moves = (store.promote(claim, "test" if n % 2 else "long", per_owner=99) for n, claim in enumerate(there))
    assert all(await asyncio.gather(*moves))
    assert await turns(database) == {"test": (10, False), "long": (10, False)}


# -- claims of many owners beside the reaper -----------------------------------------------------------------


async def test_claims_and_the_reaper_never_wait_for_each_other_in_a_ring(
    store: JobStore, database: asyncpg.Connection
) -> None:
    """A claim locks the turns of owners in the order of their turns, the reaper in that of their leases."""
    for owner in ("alice", "bob"):
        await queued(store, owner)
        await queued(store, owner)
    alice, bob = await store.claim("test", worker="w", per_owner=1, lease=LEASE, at_most=2)
    for claim, overdue in ((bob, 2), (alice, 1)):
        await database.execute(
            "UPDATE gateway.job_part SET lease_until = clock_timestamp() - make_interval(secs => $2) WHERE id = $1",
            claim.part_id,
            overdue,
        )
    async with store._transaction() as claiming:
        first = await claiming.fetchrow(CLAIM, "test", 9, "w", LEASE, 1)
        reaping = asyncio.create_task(store.reap(lease=timedelta(0)))
        await asyncio.sleep(0.1)
        second = await claiming.fetchrow(CLAIM, "test", 9, "w", LEASE, 1)
    assert {first["owner"], second["owner"]} == {"alice", "bob"}
    assert len(await reaping) == 2


async def test_two_who_wait_for_each_other_are_told_to_try_again(store: JobStore, database: asyncpg.Connection) -> None:
    jobs = [await queued(store), await queued(store)]
    is_locked = asyncio.Barrier(2)

    async def lock(*wanted: str) -> None:
        async with store._transaction() as connection:
            for number, job_id in enumerate(wanted):
                await connection.execute("SELECT FROM gateway.job WHERE id = $1 FOR UPDATE", job_id)
                if number == 0:
                    await is_locked.wait()

    errors = await asyncio.gather(lock(*jobs), lock(*reversed(jobs)), return_exceptions=True)
    assert [type(error) for error in errors if error is not None] == [BackendUnavailableError]
