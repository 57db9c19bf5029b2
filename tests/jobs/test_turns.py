"""Whose turn it is: what the trigger keeps is what counting gives, whatever happens at once; and phases are announced."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import asyncpg
import pytest

from gateway.errors import BackendUnavailableError
from gateway.jobs.models import Claim, ErrorSummary, ErrorType
from gateway.jobs.phases import Phase
from gateway.jobs.store import CLAIM_LOCK, JobStore
from gateway.jobs.store.announcer import END_TIMEOUT_S, PAUSE_S, Announcer
from tests.jobs.conftest import LEASE, claim_one, phase_of, queued
from tests.support.timed import timed

ERROR = ErrorSummary("it broke", ErrorType.FATAL)
QUEUES = ("test", "long")
OWNERS = ("alice", "bob", "carol")

# All turns that are kept, and what they should be.
DIFFERENCES = """
WITH counted AS (
    SELECT queue, owner, count(*) FILTER (WHERE run_state = 'running') AS running,
           min(queued) FILTER (WHERE run_state = 'waiting') AS oldest
    FROM gateway.job_part WHERE run_state <> 'done' GROUP BY queue, owner)
SELECT * FROM gateway.job_turn t FULL JOIN counted c USING (queue, owner)
WHERE coalesce(t.running, 0) <> coalesce(c.running, 0) OR t.oldest IS DISTINCT FROM c.oldest
"""


async def live(store: JobStore, database: asyncpg.Pool, dice: random.Random) -> None:
    """Do one thing that clients, workers, the reaper or an administrator do."""
    claims: list[Claim] = []
    for _ in range(60):
        try:
            match dice.randrange(12):
                case 0 | 1 | 2:
                    with suppress(AssertionError):  # somebody was quicker to abort it
                        await queued(store, dice.choice(OWNERS))
                case 3 | 4 | 5:
                    claims += await store.claim(dice.choice(QUEUES), worker="w", per_owner=3, lease=LEASE, at_most=2)
                case 6:
                    await store.reap(lease=timedelta(0))
                case 7:
                    await database.execute(
                        "UPDATE gateway.job_part SET lease_until = now() WHERE id % 5 = 0 AND run_state = 'running'"
                    )
                case 8:
                    job_id = await database.fetchval("SELECT id FROM gateway.job ORDER BY random() LIMIT 1")
                    if job_id:
                        await (store.abort if dice.random() < 0.5 else store.destroy)(job_id)
                case 9:
                    await store.adopt(*dice.sample(QUEUES, 2))
                case _ if not claims:
                    pass
                case 10:
                    claim = claims.pop()
                    await store.end(claim, dice.choice((Phase.COMPLETED, Phase.ERROR)), error=ERROR)
                case _:
                    claim = claims.pop()
                    if dice.random() < 0.5 and await store.promote(claim, dice.choice(QUEUES), per_owner=3):
                        continue
                    await store.give_back(claim, error=ERROR, queue=dice.choice((None, *QUEUES)))
        except BackendUnavailableError:  # two sides at once: try again
            pass


@pytest.mark.parametrize("seed", range(4))
async def test_turns_are_what_counting_gives(store: JobStore, database_url: str, seed: int) -> None:  # L4
    async with asyncpg.create_pool(database_url, min_size=0, max_size=4) as database:
        await asyncio.gather(*(live(store, database, random.Random(f"{seed}.{n}")) for n in range(8)))
        assert await database.fetch(DIFFERENCES) == []
        assert await database.fetchval("SELECT count(DISTINCT run_state) FROM gateway.job_part") == 3, (
            "nothing was tried"
        )
        await store.purge(age=timedelta(0))
        await database.execute("DELETE FROM gateway.job WHERE owner = 'bob'")
        assert await database.fetch(DIFFERENCES) == []


async def test_part_that_comes_while_the_last_one_is_claimed_is_not_forgotten(
    store: JobStore, database: asyncpg.Connection
) -> None:  # I1
    await queued(store)
    job_id = await queued(store)
    await database.execute("DELETE FROM gateway.job_part WHERE job_id = $1", job_id)
    async with database.transaction():
        await database.execute(
            "INSERT INTO gateway.job_part (job_id, number, queue, owner) VALUES ($1, 1, 'test', 'alice')", job_id
        )
        first = asyncio.create_task(claim_one(store))
        await asyncio.sleep(0.1)
        assert not first.done(), "the claim has not waited for the turn"
    assert await first is not None
    second = await claim_one(store)
    assert second is not None
    assert second.job_id == job_id


async def test_claim_waits_for_who_has_its_lock_by_the_statement(store: JobStore, database: asyncpg.Connection) -> None:
    """The name of the lock stands in a statement and in the function: they are one lock."""
    await queued(store)
    async with database.transaction():
        await database.execute(CLAIM_LOCK, "test")
        claim = asyncio.create_task(claim_one(store))
        await asyncio.sleep(0.1)
        assert not claim.done()
    assert await claim is not None


async def test_parts_claimed_together_are_those_that_claims_one_by_one_would_give(
    store: JobStore, database: asyncpg.Connection
) -> None:  # L4
    for owner, count in (("alice", 4), ("bob", 2), ("carol", 1)):
        for _ in range(count):
            await queued(store, owner)
    claims = await store.claim("test", worker="w", per_owner=2, lease=LEASE, at_most=6)
    assert [claim.owner for claim in claims] == ["alice", "bob", "carol", "alice", "bob"]
    assert {claim.token for claim in claims} == {1}


# -- announcements -----------------------------------------------------------------------------------------


async def test_every_phase_change_is_announced(store: JobStore, database: asyncpg.Connection) -> None:
    told: asyncio.Queue[str] = asyncio.Queue()
    await database.add_listener("gateway_job", lambda *arguments: told.put_nowait(arguments[3]))
    job_id = await queued(store)
    assert await asyncio.wait_for(told.get(), 2) == job_id
    claim = await claim_one(store)
    assert claim is not None
    assert await asyncio.wait_for(told.get(), 2) == job_id
    assert await store.end(claim, Phase.COMPLETED)
    assert await asyncio.wait_for(told.get(), 2) == job_id
    # Of these another sends none, so the transaction does, in a session that has just claimed and ended.
    other = await queued(store)
    assert await store.abort(other)
    assert [await asyncio.wait_for(told.get(), 2) for _ in range(2)] == [other] * 2
    assert told.empty()


async def test_many_phase_changes_are_announced_together_and_none_is_left_behind(
    store: JobStore, database: asyncpg.Connection, database_url: str
) -> None:
    told: list[str] = []
    await database.add_listener("gateway_job", lambda *arguments: told.append(arguments[3]))
    jobs = {await queued(store, owner) for owner in OWNERS * 3}
    await database.execute("SELECT 1")
    told.clear()
    async with JobStore.open(database_url) as workers:
        claims = await workers.claim("test", worker="w", per_owner=9, lease=LEASE, at_most=9)
        assert await asyncio.gather(*(workers.end(claim, Phase.COMPLETED) for claim in claims)) == [True] * 9
    # The store is closed: all has been sent.
    await database.execute("SELECT 1")
    assert set(told) == jobs
    assert {await phase_of(store, job_id) for job_id in jobs} == {Phase.COMPLETED}


async def test_who_moves_many_jobs_one_after_the_other_sends_few_announcements(
    store: JobStore, database: asyncpg.Connection
) -> None:  # PAUSE_S
    told: list[str] = []
    await database.add_listener("gateway_job", lambda *arguments: told.append(arguments[3]))
    sendings = 0

    @asynccontextmanager
    async def counted() -> AsyncIterator[asyncpg.Connection]:
        nonlocal sendings
        sendings += 1
        async with store._connection() as connection:
            yield connection

    announcer = Announcer(counted)
    started = time.monotonic()
    for number in range(100):
        announcer.tell(f"job{number}")
        await asyncio.sleep(0.001)
    seconds = time.monotonic() - started
    await announcer.aclose()
    await database.execute("SELECT 1")
    assert sorted(told) == sorted(f"job{number}" for number in range(100))
    assert sendings <= 2 + seconds / PAUSE_S


@timed
async def test_store_is_closed_beside_a_database_that_hangs() -> None:  # END_TIMEOUT_S
    @asynccontextmanager
    async def hanging() -> AsyncIterator[asyncpg.Connection]:
        await asyncio.Event().wait()
        yield

    announcer = Announcer(hanging)
    announcer.tell("job")
    started = time.monotonic()
    await announcer.aclose()
    assert END_TIMEOUT_S * 0.9 < time.monotonic() - started < END_TIMEOUT_S + 1


async def test_announcements_do_not_fail_with_their_database(database_url: str) -> None:  # F8
    async with JobStore.open(database_url) as workers:
        job_id = await queued(workers)
        claim = await claim_one(workers)
        assert claim is not None
        await workers._pool.close()
        workers._announcer.tell(job_id)
        await workers._announcer.aclose()
        assert workers._announcer._sending is not None
        assert workers._announcer._sending.exception() is None
